"""The four commands of `offsets`: they read from Kafka, print, and return the exit code."""

from rich.console import Console

from streamproc.escaping import escaped
from streamproc.exitcodes import ExitCode
from streamproc.interrupts import Interrupted, stop_on_signal, unless_stopped
from streamproc.offsets import documents, showing
from streamproc.offsets.deciding import ChangeRefused, resume, skip
from streamproc.offsets.documents import Resumption
from streamproc.offsets.places import Passage, Target
from streamproc.offsets.resetting import PartitionReset, Reset, planned, refuse_running
from streamproc.offsets.standing import Desk, standing
from streamproc.offsets.watching import stopped, unmoved
from streamproc.printing import Consoles, print_json, print_line, print_wide
from streamproc.runtime.ports import TopicPartition


async def show_offsets(desk: Desk, consoles: Consoles, *, as_json: bool) -> ExitCode:
    """Print where every partition of the inputs stands; raises ConfigError, BrokerUnavailable."""
    partitions = [await standing(desk.kafka, source) for topic in desk.inputs for source in await desk.sources(topic)]
    group = await desk.kafka.membership()
    if as_json:
        print_json(consoles.out, documents.offsets(desk.application_id, group, partitions))
    else:
        print_wide(consoles.out, showing.table(partitions))
        print_line(consoles.out, showing.group(desk.application_id, group))
    return ExitCode.DONE


async def skip_records(desk: Desk, passage: Passage, consoles: Consoles, *, as_json: bool = False) -> ExitCode:
    """Pass over records, and say so; raises as `skip`."""
    with stop_on_signal() as stop:
        try:
            await unless_stopped(stop, skip(desk, passage), f"{passage.offsets} of {passage.source} were skipped")
        except Interrupted as interrupted:
            print_line(consoles.err, f"{interrupted}, or just then: `streamproc offsets show` tells")
            return ExitCode.INTERRUPTED
    if as_json:
        print_json(consoles.out, documents.skipped(passage, desk.topics.dead_letters))
    else:
        print_line(consoles.out, showing.skipped(passage, desk.topics.dead_letters))
    return ExitCode.DONE


async def resume_partitions(
    desk: Desk, source: TopicPartition | None, consoles: Consoles, *, as_json: bool = False
) -> ExitCode:
    """Let one partition go on, or all that stand still, and say which; raises as `resume`."""
    told = Resumption()
    it = _Resuming(desk, told, consoles, as_json=as_json)
    work = it.stopped() if source is None else it.one(source)
    with stop_on_signal() as stop:
        try:
            return await unless_stopped(stop, work, "every partition was told to go on")
        except Interrupted as interrupted:
            print_line(consoles.err, f"{interrupted}: the same command tells the others")
            return ExitCode.INTERRUPTED
        finally:
            if as_json:
                print_json(consoles.out, told.document())


class _Resuming:
    """One run of the command: says each thing when it is done, or has it for the document."""

    def __init__(self, desk: Desk, told: Resumption, consoles: Consoles, *, as_json: bool) -> None:
        self._desk = desk
        self._told = told
        self._consoles = consoles
        self._as_json = as_json

    async def one(self, source: TopicPartition) -> ExitCode:
        """Let a partition go on that does not by itself."""
        known = [await self._desk.known(source)]
        if await _runs(self._desk) and not await unmoved(self._desk, known):
            self._told.go_on += known
            self._say(f"{source} goes on by itself: it was left alone")
        else:
            await self._resume(source)
        return ExitCode.DONE

    async def stopped(self) -> ExitCode:
        """Let all go on that stand still; return FAILED where one cannot now, the others are told anyway."""
        if not await _runs(self._desk):
            self._say(showing.nothing_runs(self._desk.application_id))
            return ExitCode.DONE
        sources = [source for topic in self._desk.inputs for source in await self._desk.sources(topic)]
        print_line(self._consoles.err, f"watching for a few seconds which of {len(sources)} partitions stand still")
        found = await stopped(self._desk, sources)
        self._told.go_on += [source for source in sources if source not in found]
        self._say(f"{len(sources) - len(found)} of {len(sources)} partitions go on by themselves")
        for source in found:
            try:
                await self._resume(source)
            except ChangeRefused as error:
                self._told.refused[source] = str(error)
                print_line(self._consoles.err, escaped(str(error)))
        return ExitCode.FAILED if self._told.refused else ExitCode.DONE

    async def _resume(self, source: TopicPartition) -> None:
        offset = await resume(self._desk, source)
        self._told.resumed[source] = offset
        self._say(f"{source} goes on at offset {offset}: what was rejected before no longer counts")

    def _say(self, text: str) -> None:
        if not self._as_json:
            print_line(self._consoles.out, text)


async def _runs(desk: Desk) -> bool:
    return bool((await desk.kafka.membership()).members)


async def reset_offsets(
    desk: Desk, target: Target, consoles: Consoles, *, dry_run: bool, as_json: bool = False
) -> ExitCode:
    """Go back, and say what that means; raises as `planned` and `Reset.run`."""

    def on_step(text: str) -> None:
        print_line(consoles.err, text)

    summarize = _print_document if as_json else _summary
    with stop_on_signal() as stop:
        began = False
        try:
            moves = await unless_stopped(stop, _plan(desk, target, dry_run=dry_run), "anything was changed")
            if not as_json and (lost := showing.passed(moves)):
                print_line(consoles.out, lost)
            if dry_run:
                summarize(consoles.out, moves, is_plan=True)
                return ExitCode.DONE
            began = True
            await unless_stopped(stop, Reset(desk, moves, on_step).run(), "the reset was finished")
        except Interrupted as interrupted:
            more = ". The service does not start until the same command was run again, which goes on from there"
            print_line(consoles.err, f"{interrupted}{more if began else ''}")
            return ExitCode.INTERRUPTED
    summarize(consoles.out, moves, is_plan=False)
    return ExitCode.DONE


async def _plan(desk: Desk, target: Target, *, dry_run: bool) -> list[PartitionReset]:
    if not dry_run:
        await refuse_running(desk)
    return await planned(desk, target)


def _print_document(out: Console, moves: list[PartitionReset], *, is_plan: bool) -> None:
    print_json(out, documents.moved(moves, is_plan=is_plan))


def _summary(out: Console, moves: list[PartitionReset], *, is_plan: bool) -> None:
    print_wide(out, showing.moves(moves))
    for text in (*showing.clamped(moves), showing.totals(moves, is_plan=is_plan), showing.AGAIN):
        print_line(out, text)
