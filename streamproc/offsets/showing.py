"""Offsets and what was done to them, as people and programs read them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from streamproc.escaping import escaped
from streamproc.offsets.places import Passage
from streamproc.offsets.resetting import PartitionReset, stood
from streamproc.offsets.standing import PartitionStanding
from streamproc.runtime.ports import Membership
from streamproc.runtime.position import Position
from streamproc.times import instant

AGAIN = (
    "Transitions, states, alerts and metrics of these offsets are written again with the same ce_id: consumers that "
    "drop repeats by ce_id see nothing twice, others do. Runs that began before the new position appear as new. "
    "Windows that straddle the new position are counted from there only: their metrics come again with smaller totals "
    "under the same ce_id, and whoever drops repeats keeps the first ones."
)


def table(found: Sequence[PartitionStanding]) -> Table:
    """Return where the partitions stand."""
    it = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (
        "topic",
        "partition",
        "committed",
        "first",
        "end",
        "lag",
        "by",
        "stream time",
        "live keys",
        "sequence",
    ):
        it.add_column(name, overflow="fold", justify="left" if name in {"topic", "by", "stream time"} else "right")
    for each in found:
        said = each.said if isinstance(each.said, Position) else None
        committed = "none" if each.committed is None else f"{each.committed.offset}"
        more = ("", "", "") if said is None else (_time(said.stream_time), f"{said.live_keys:,}", f"{said.sequence}")
        topic, number = each.source
        it.add_row(topic, f"{number}", committed, f"{each.first}", f"{each.end}", f"{each.lag:,}", each.by, *more)
    return it


def group(application_id: str, it: Membership) -> str:
    """Say what the consumer group is."""
    members = f", {len(it.members)} members: {escaped(', '.join(it.members))}" if it.members else ", no members"
    return f"group {application_id}: {escaped(it.state)}{members}"


def as_json(application_id: str, membership: Membership, found: Sequence[PartitionStanding]) -> str:
    """Return the same as one JSON object; times in milliseconds."""
    about = {"id": application_id, "state": membership.state, "members": list(membership.members)}
    return json.dumps({"group": about, "partitions": [_document(each) for each in found]})


def skipped(passage: Passage, dead_letters: str) -> str:
    """Say what was passed over."""
    source, behind = passage.source, passage.through + 1
    return (
        f"passed over {passage.said} of {source} ({escaped(passage.why)}): it goes on at {behind}, a dead letter in "
        f"{dead_letters} partition {source.partition} says so"
    )


def nothing_runs(application_id: str) -> str:
    """Say why nothing was told to go on."""
    return (
        f"no service runs: group {application_id} has no members. Rejections are counted in memory, and the count "
        "begins anew when it starts: nothing is to be resumed"
    )


def moves(found: Sequence[PartitionReset]) -> Table:
    """Return what becomes of each partition."""
    it = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("partition", "from", "to", "read again", "passed over", "runs dropped and rebuilt"):
        it.add_column(name, overflow="fold", justify="right")
    for move in found:
        number, before = str(move.before.source.partition), move.before
        again, passed = _count(move.again, before.end - move.to), _count(move.passed, move.to - before.first)
        it.add_row(number, stood(before), str(move.to), again, passed, f"{move.reach.runs:,}")
    return it


def clamped(found: Sequence[PartitionReset]) -> Iterator[str]:
    """Yield a line for each partition that does not hold the offset that was asked for."""
    for move in found:
        if move.wanted is not None:
            before = move.before
            yield f"{before.source} holds offsets {before.first} to {before.end}: {move.to} instead of {move.wanted}"


def passed(found: Sequence[PartitionReset]) -> str:
    """Say which records nobody has processed are passed over; empty where there are none."""
    there = [move for move in found if move.passed]
    if not there:
        return ""
    count, names = (
        sum(move.passed or 0 for move in there),
        ", ".join(str(move.before.source.partition) for move in there),
    )
    return (
        f"{count:,} records that were never processed are passed over: partitions {names} (by their offsets, those of "
        "transaction markers among them)"
    )


def totals(found: Sequence[PartitionReset], *, is_plan: bool) -> str:
    """Sum it up."""
    runs = sum(move.reach.runs for move in found)
    least = sum(move.again or 0 for move in found)
    most = least + sum(move.before.end - move.to for move in found if move.again is None)
    again = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    verb = ("would be read", "would be dropped") if is_plan else ("are read", "were dropped")
    return f"{again} offsets {verb[0]} again; {runs:,} runs and all windows {verb[1]} and are rebuilt from there"


def _count(count: int | None, most: int) -> str:
    return f"{count:,}" if count is not None else f"unknown, up to {most:,}"


def _document(it: PartitionStanding) -> dict[str, Any]:
    said = it.said if isinstance(it.said, Position) else None
    return {
        "topic": it.source.topic,
        "partition": it.source.partition,
        "committed": None if it.committed is None else it.committed.offset,
        "first": it.first,
        "end": it.end,
        "lag": it.lag,
        "by": it.by,
        "stream_time": None if said is None else said.stream_time,
        "live_keys": None if said is None else said.live_keys,
        "sequence": None if said is None else said.sequence,
    }


def _time(time_ms: int) -> str:
    return instant(time_ms, "seconds") if time_ms else "none yet"
