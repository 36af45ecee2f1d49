"""Shows offsets, and changes of them, to people."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from streamproc.escaping import escaped
from streamproc.offsets.places import Passage
from streamproc.offsets.resetting import PartitionReset, stood
from streamproc.offsets.standing import PartitionStanding
from streamproc.runtime.ports import GroupDescription
from streamproc.runtime.position import Position
from streamproc.times import instant

AGAIN = (
    "Transitions, states, alerts and metrics of these offsets are written again with the same ce_id: consumers that "
    "drop repeats by ce_id see nothing twice, others do. Runs that began before the new position appear as new. "
    "Windows that straddle the new position are counted from there only: their metrics come again with smaller totals "
    "under the same ce_id, and whoever drops repeats keeps the first ones."
)


def table(partitions: Sequence[PartitionStanding]) -> Table:
    """Return a table of the partitions and their committed offsets."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
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
        grid.add_column(name, overflow="fold", justify="left" if name in {"topic", "by", "stream time"} else "right")
    for partition in partitions:
        position = partition.position if isinstance(partition.position, Position) else None
        committed = "none" if partition.committed is None else f"{partition.committed.offset}"
        more = (
            ("", "", "")
            if position is None
            else (_time(position.stream_time), f"{position.live_keys:,}", f"{position.sequence}")
        )
        topic, number = partition.source
        grid.add_row(
            topic,
            f"{number}",
            committed,
            f"{partition.first}",
            f"{partition.end}",
            f"{partition.lag:,}",
            partition.by,
            *more,
        )
    return grid


def group(application_id: str, membership: GroupDescription) -> str:
    """Describe the consumer group."""
    members = (
        f", {len(membership.members)} members: {escaped(', '.join(membership.members))}"
        if membership.members
        else ", no members"
    )
    return f"group {application_id}: {escaped(membership.state)}{members}"


def skipped(passage: Passage, dead_letters: str) -> str:
    """Describe the records that were skipped."""
    source, behind = passage.source, passage.through + 1
    return (
        f"skipped {passage.offsets} of {source} ({escaped(passage.why)}): it continues at {behind}; a dead letter in "
        f"{dead_letters} partition {source.partition} records this"
    )


def nothing_runs(application_id: str) -> str:
    """Explain why nothing was resumed."""
    return (
        f"the service is not running (group {application_id} has no members), so there is nothing to resume: start it, "
        "and it begins counting rejections anew"
    )


def moves(resets: Sequence[PartitionReset]) -> Table:
    """Return what becomes of each partition."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("partition", "from", "to", "read again", "skipped", "runs dropped and rebuilt"):
        grid.add_column(name, overflow="fold", justify="right")
    for move in resets:
        number, before = str(move.before.source.partition), move.before
        again, passed = _count(move.again, before.end - move.to), _count(move.passed, move.to - before.first)
        grid.add_row(number, stood(before), str(move.to), again, passed, f"{move.reach.runs:,}")
    return grid


def clamped(resets: Sequence[PartitionReset]) -> Iterator[str]:
    """Yield a line for each partition where the requested offset does not exist."""
    for move in resets:
        if move.requested is not None:
            before = move.before
            yield (
                f"{before.source} begins at offset {before.first}, and its end is {before.end}: {move.to} instead of "
                f"{move.requested}"
            )


def passed(resets: Sequence[PartitionReset]) -> str:
    """Describe the unprocessed records that a reset skips; empty where there are none."""
    skipping = [move for move in resets if move.passed]
    if not skipping:
        return ""
    count, names = (
        sum(move.passed or 0 for move in skipping),
        ", ".join(str(move.before.source.partition) for move in skipping),
    )
    return (
        f"{count:,} records that were never processed are skipped: partitions {names} (by their offsets, those of "
        "transaction markers among them)"
    )


def totals(resets: Sequence[PartitionReset], *, is_plan: bool) -> str:
    """Sum up a reset."""
    runs = sum(move.reach.runs for move in resets)
    least = sum(move.again or 0 for move in resets)
    most = least + sum(move.before.end - move.to for move in resets if move.again is None)
    again = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    verb = ("would be read", "would be dropped") if is_plan else ("are read", "were dropped")
    return f"{again} offsets {verb[0]} again; {runs:,} runs and all windows {verb[1]} and are rebuilt from there"


def _count(count: int | None, most: int) -> str:
    return f"{count:,}" if count is not None else f"unknown, up to {most:,}"


def _time(time_ms: int) -> str:
    return instant(time_ms, "seconds") if time_ms else "none yet"
