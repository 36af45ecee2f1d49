"""The four commands, from Kafka to what is printed; each returns its exit code."""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from streamproc.interrupts import EXIT_AT_ONCE, Interrupted, stop_on_signal, unless_stopped
from streamproc.offsets import showing
from streamproc.offsets.deciding import resume, skip, unread
from streamproc.offsets.places import Passage, Target
from streamproc.offsets.resetting import Move, Reset, planned, refuse_running
from streamproc.offsets.standing import Desk, standing
from streamproc.runtime.ports import TopicPartition

WIDE = 1_000
"""Columns where stdout is no terminal: what goes to a file or a pipe is not cut."""


class Consoles(NamedTuple):
    """Where results go, and where the rest goes."""

    out: Console
    err: Console


async def show_offsets(desk: Desk, consoles: Consoles, *, as_json: bool) -> int:
    """Print where every partition of the inputs stands; raises ConfigError, BrokerUnavailable."""
    found = [await standing(desk.kafka, source) for topic in desk.inputs for source in await desk.sources(topic)]
    group = await desk.kafka.membership()
    if as_json:
        _line(consoles.out, showing.as_json(desk.application_id, group, found))
    else:
        _wide(consoles.out, showing.table(found))
        _line(consoles.out, showing.group(desk.application_id, group))
    return 0


async def skip_records(desk: Desk, passage: Passage, consoles: Consoles) -> int:
    """Pass over records, and say so; raises as `skip`."""
    with stop_on_signal() as stop:
        try:
            await unless_stopped(stop, skip(desk, passage), f"{passage.said} of {passage.source} were passed over")
        except Interrupted as interrupted:
            _line(consoles.err, f"{interrupted}, or just then: `streamproc offsets show` tells")
            return EXIT_AT_ONCE
    _line(consoles.out, showing.skipped(passage, desk.topics.dead_letters))
    return 0


async def resume_partitions(desk: Desk, source: TopicPartition | None, consoles: Consoles) -> int:
    """Let partitions go on, and say which; raises as `resume`."""

    async def work() -> int:
        sources = [await desk.known(source)] if source is not None else [it.source for it in await unread(desk)]
        for each in sources:
            offset = await resume(desk, each)
            _line(consoles.out, f"{each} goes on at offset {offset}: what was rejected before no longer counts")
        if not sources:
            _line(
                consoles.out, f"no partition of {desk.topics.events} has unread records: there is nothing to go on with"
            )
        return 0

    with stop_on_signal() as stop:
        try:
            return await unless_stopped(stop, work(), "every partition was told to go on")
        except Interrupted as interrupted:
            _line(consoles.err, f"{interrupted}: the same command tells the others")
            return EXIT_AT_ONCE


async def reset_offsets(desk: Desk, target: Target, consoles: Consoles, *, dry_run: bool) -> int:
    """Go back, and say what that means; raises as `planned` and `Reset.run`."""

    def on_step(text: str) -> None:
        _line(consoles.err, text)

    with stop_on_signal() as stop:
        began = False
        try:
            moves = await unless_stopped(stop, _plan(desk, target, dry_run=dry_run), "anything was changed")
            if lost := showing.passed(moves):
                _line(consoles.out, lost)
            if dry_run:
                _summary(consoles.out, moves, is_plan=True)
                return 0
            began = True
            await unless_stopped(stop, Reset(desk, moves, on_step).run(), "the reset was finished")
        except Interrupted as interrupted:
            more = ". The service does not start until the same command was run again, which goes on from there"
            _line(consoles.err, f"{interrupted}{more if began else ''}")
            return EXIT_AT_ONCE
    _summary(consoles.out, moves, is_plan=False)
    return 0


async def _plan(desk: Desk, target: Target, *, dry_run: bool) -> list[Move]:
    if not dry_run:
        await refuse_running(desk)
    return await planned(desk, target)


def _summary(out: Console, moves: list[Move], *, is_plan: bool) -> None:
    _wide(out, showing.moves(moves))
    for line in (*showing.clamped(moves), showing.totals(moves, is_plan=is_plan), showing.AGAIN):
        _line(out, line)


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)


def _wide(console: Console, table: Table) -> None:
    (console if console.is_terminal else Console(file=console.file, width=WIDE)).print(table)
