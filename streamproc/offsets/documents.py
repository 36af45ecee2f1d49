"""What the commands of `offsets` tell programs: times in milliseconds."""

from collections.abc import Sequence
from typing import Any

from streamproc.offsets.places import Passage
from streamproc.offsets.resetting import PartitionReset
from streamproc.offsets.standing import PartitionStanding
from streamproc.runtime.ports import GroupDescription, TopicPartition
from streamproc.runtime.position import Position


class Resumption:
    """What became of each partition: told to go on from an offset, going on by itself, or why it cannot."""

    def __init__(self) -> None:
        self.resumed: dict[TopicPartition, int] = {}
        self.go_on: list[TopicPartition] = []
        self.refused: dict[TopicPartition, str] = {}

    def document(self) -> dict[str, Any]:
        """Return it; nothing at all where no service runs."""
        return {
            "resumed": [{**_partition(source), "offset": offset} for source, offset in self.resumed.items()],
            "go_on_by_themselves": [_partition(source) for source in self.go_on],
            "refused": [{**_partition(source), "reason": reason} for source, reason in self.refused.items()],
        }


def offsets(
    application_id: str, membership: GroupDescription, partitions: Sequence[PartitionStanding]
) -> dict[str, Any]:
    """Return the consumer group, and where each partition stands."""
    about = {"id": application_id, "state": membership.state, "members": list(membership.members)}
    return {"group": about, "partitions": [_standing(partition) for partition in partitions]}


def skipped(passage: Passage, dead_letters: str) -> dict[str, Any]:
    """Return what was passed over, and where the dead letter is."""
    return {
        **_partition(passage.source),
        "first": passage.first,
        "through": passage.through,
        "why": passage.why,
        "dead_letters": dead_letters,
    }


def moved(resets: Sequence[PartitionReset], *, is_plan: bool) -> dict[str, Any]:
    """Return what became of each partition, or would; null where nothing tells how many offsets."""
    return {"dry_run": is_plan, "partitions": [_moved(move) for move in resets]}


def _moved(move: PartitionReset) -> dict[str, Any]:
    committed = move.before.committed
    return {
        **_partition(move.before.source),
        "from": None if committed is None else committed.offset,
        "to": move.to,
        "requested": move.requested,
        "read_again": move.again,
        "passed_over": move.passed,
        "runs_dropped": move.reach.runs,
    }


def _standing(partition: PartitionStanding) -> dict[str, Any]:
    position = partition.position if isinstance(partition.position, Position) else None
    return {
        **_partition(partition.source),
        "committed": None if partition.committed is None else partition.committed.offset,
        "first": partition.first,
        "end": partition.end,
        "lag": partition.lag,
        "by": partition.by,
        "stream_time": None if position is None else position.stream_time,
        "live_keys": None if position is None else position.live_keys,
        "sequence": None if position is None else position.sequence,
    }


def _partition(source: TopicPartition) -> dict[str, Any]:
    return {"topic": source.topic, "partition": source.partition}
