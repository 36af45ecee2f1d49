"""The four commands of `offsets`: they read from Kafka, print, and return the exit code."""

from rich.console import Console

from streamproc.escaping import escaped
from streamproc.interrupts import EXIT_AT_ONCE, Interrupted, stop_on_signal, unless_stopped
from streamproc.offsets import showing
from streamproc.offsets.deciding import ChangeRefused, resume, skip
from streamproc.offsets.places import Passage, Target
from streamproc.offsets.resetting import PartitionReset, Reset, planned, refuse_running
from streamproc.offsets.standing import Desk, standing
from streamproc.offsets.watching import stopped, unmoved
from streamproc.printing import Consoles, print_line, print_wide
from streamproc.runtime.ports import TopicPartition


async def show_offsets(desk: Desk, consoles: Consoles, *, as_json: bool) -> int:
    """Print where every partition of the inputs stands; raises ConfigError, BrokerUnavailable."""
    partitions = [await standing(desk.kafka, source) for topic in desk.inputs for source in await desk.sources(topic)]
    group = await desk.kafka.membership()
    if as_json:
        print_line(consoles.out, showing.as_json(desk.application_id, group, partitions))
    else:
        print_wide(consoles.out, showing.table(partitions))
        print_line(consoles.out, showing.group(desk.application_id, group))
    return 0


async def skip_records(desk: Desk, passage: Passage, consoles: Consoles) -> int:
    """Skip records, and print that; raises as `skip`."""
    with stop_on_signal() as stop:
        try:
            await unless_stopped(stop, skip(desk, passage), f"{passage.offsets} of {passage.source} were passed over")
        except Interrupted as interrupted:
            print_line(consoles.err, f"{interrupted}, or just then: `streamproc offsets show` tells")
            return EXIT_AT_ONCE
    print_line(consoles.out, showing.skipped(passage, desk.topics.dead_letters))
    return 0


async def resume_partitions(desk: Desk, source: TopicPartition | None, consoles: Consoles) -> int:
    """Resume one partition, or all that stand still, and print which; raises as `resume`."""
    work = _resume_stopped(desk, consoles) if source is None else _resume_one(desk, source, consoles)
    with stop_on_signal() as stop:
        try:
            return await unless_stopped(stop, work, "every partition was told to go on")
        except Interrupted as interrupted:
            print_line(consoles.err, f"{interrupted}: the same command tells the others")
            return EXIT_AT_ONCE


async def _resume_one(desk: Desk, source: TopicPartition, consoles: Consoles) -> int:
    sources = [await desk.known(source)]
    if await _runs(desk) and not await unmoved(desk, sources):
        print_line(consoles.out, f"{source} goes on by itself: it was left alone")
    else:
        await _resume(desk, source, consoles)
    return 0


async def _resume_stopped(desk: Desk, consoles: Consoles) -> int:
    """Resume the partitions that stand still. Returns 1 if one cannot go on; the others are resumed all the same."""
    if not await _runs(desk):
        print_line(consoles.out, showing.nothing_runs(desk.application_id))
        return 0
    sources = [source for topic in desk.inputs for source in await desk.sources(topic)]
    print_line(consoles.err, f"watching for a few seconds which of {len(sources)} partitions stand still")
    still = await stopped(desk, sources)
    print_line(consoles.out, f"{len(sources) - len(still)} of {len(sources)} partitions go on by themselves")
    code = 0
    for source in still:
        try:
            await _resume(desk, source, consoles)
        except ChangeRefused as error:
            print_line(consoles.err, escaped(str(error)))
            code = 1
    return code


async def _resume(desk: Desk, source: TopicPartition, consoles: Consoles) -> None:
    offset = await resume(desk, source)
    print_line(consoles.out, f"{source} goes on at offset {offset}: what was rejected before no longer counts")


async def _runs(desk: Desk) -> bool:
    return bool((await desk.kafka.membership()).members)


async def reset_offsets(desk: Desk, target: Target, consoles: Consoles, *, dry_run: bool) -> int:
    """Reset the offsets, and print the consequences; raises as `planned` and `Reset.run`."""

    def on_step(text: str) -> None:
        print_line(consoles.err, text)

    with stop_on_signal() as stop:
        began = False
        try:
            moves = await unless_stopped(stop, _plan(desk, target, dry_run=dry_run), "anything was changed")
            if lost := showing.passed(moves):
                print_line(consoles.out, lost)
            if dry_run:
                _summary(consoles.out, moves, is_plan=True)
                return 0
            began = True
            await unless_stopped(stop, Reset(desk, moves, on_step).run(), "the reset was finished")
        except Interrupted as interrupted:
            more = ". The service does not start until the same command was run again, which goes on from there"
            print_line(consoles.err, f"{interrupted}{more if began else ''}")
            return EXIT_AT_ONCE
    _summary(consoles.out, moves, is_plan=False)
    return 0


async def _plan(desk: Desk, target: Target, *, dry_run: bool) -> list[PartitionReset]:
    if not dry_run:
        await refuse_running(desk)
    return await planned(desk, target)


def _summary(out: Console, moves: list[PartitionReset], *, is_plan: bool) -> None:
    print_wide(out, showing.moves(moves))
    for text in (*showing.clamped(moves), showing.totals(moves, is_plan=is_plan), showing.AGAIN):
        print_line(out, text)
