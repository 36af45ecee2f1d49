"""The instances by their last reports, and each input partition as its owner reports it."""

from collections.abc import Iterator, Mapping
from sqlite3 import Connection
from typing import Any

from msgspec.msgpack import Decoder

from streamproc.console.answers.fleet import Instance, PartitionStatus

STALE_AFTER = 3
"""After this many intervals without a report, an instance counts as gone or cut off."""
UNOWNED = "unowned"

Report = Mapping[str, Any]
"""A RunInstance."""

_unpack = Decoder(dict[str, Any]).decode


def reports(db: Connection, topic: str, partitions: int, now_ms: int) -> tuple[list[Instance], list[PartitionStatus]]:
    """Return the instances and the input partitions; a partition of `topic` that nobody reports is unowned."""
    rows = db.execute("SELECT packed, before FROM instances ORDER BY instance_id").fetchall()
    pairs = [(_unpack(packed), None if before is None else _unpack(before)) for packed, before in rows]
    latest: dict[tuple[str, int], PartitionStatus] = {}
    # A partition in two reports has moved: the later report counts.
    for report, before in sorted(pairs, key=lambda pair: pair[0]["reported_at"]):
        for status in _partitions(report, before, now_ms):
            latest[status.topic, status.partition] = status
    for number in range(partitions):
        latest.setdefault((topic, number), _unowned(topic, number))
    return [_instance(*pair, now_ms) for pair in pairs], [latest[key] for key in sorted(latest)]


def _instance(report: Report, before: Report | None, now_ms: int) -> Instance:
    return Instance(
        instance_id=report["instance_id"],
        version=report["version"],
        host=report["host"],
        status=report["status"],
        message=report["message"],
        started_at=report["started_at"],
        reported_at=report["reported_at"],
        is_ready=report["ready"],
        is_stale=_is_stale(report, now_ms),
        partitions=len(report["partitions"]),
        cpu=_cores(report, before),
        memory_bytes=report["memory_bytes"],
    )


def _cores(report: Report, before: Report | None) -> float | None:
    """Return how many cores were in use between two reports of one process."""
    if before is None or before["started_at"] != report["started_at"]:
        return None
    passed_s = (report["reported_at"] - before["reported_at"]) / 1_000
    return round((report["cpu_seconds"] - before["cpu_seconds"]) / passed_s, 3) if passed_s > 0 else None


def _partitions(report: Report, before: Report | None, now_ms: int) -> Iterator[PartitionStatus]:
    earlier = {
        (partition["topic"], partition["partition"]): partition for partition in (before or {}).get("partitions", ())
    }
    for partition in report["partitions"]:
        remaining, total = partition["restore_remaining"], partition["restore_total"]
        passed_s = 0.0 if before is None else (report["reported_at"] - before["reported_at"]) / 1_000
        was_left = (earlier.get((partition["topic"], partition["partition"])) or {}).get("restore_remaining")
        yield PartitionStatus(
            topic=partition["topic"],
            partition=partition["partition"],
            instance_id=report["instance_id"],
            state=partition["state"],
            reason=partition["reason"],
            detail=partition["detail"],
            since=partition["since"],
            lag_records=partition["lag_records"],
            lag_s=partition["lag_seconds"],
            last_commit_at=partition["last_commit_at"],
            restore_fraction=round(1 - remaining / total, 4) if total and remaining is not None else None,
            restore_left_s=_left_s(remaining, was_left, passed_s),
            is_stale=_is_stale(report, now_ms),
        )


def _left_s(remaining: int | None, was_left: int | None, passed_s: float) -> float | None:
    """Return how many seconds a restore still takes, at the pace between two reports."""
    if not remaining or was_left is None or was_left <= remaining or passed_s <= 0:
        return None
    return round(remaining * passed_s / (was_left - remaining), 1)


def _unowned(topic: str, partition: int) -> PartitionStatus:
    return PartitionStatus(
        topic=topic,
        partition=partition,
        instance_id=None,
        state=UNOWNED,
        reason=None,
        detail=None,
        since=None,
        lag_records=None,
        lag_s=None,
        last_commit_at=None,
        restore_fraction=None,
        restore_left_s=None,
        is_stale=False,
    )


def _is_stale(report: Report, now_ms: int) -> bool:
    return bool(now_ms - report["reported_at"] > STALE_AFTER * report["interval_ms"])
