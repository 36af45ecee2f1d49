"""The history of a run: arrivals, alerts and rejected events in the order of time; and the steps added lately."""

from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from sqlite3 import Connection
from typing import Any, NamedTuple

from streamproc.console.answers.runs import Step
from streamproc.console.model.entries import Alerted, StepKind, unpack_alerted, unpack_arrived, unpack_letter
from streamproc.console.model.history import partitions

REJECTED = "rejected"
COLUMNS = "kind, partition, offset, run_id, at, recorded, packed"
LETTER = 9
"""The kind of a dead letter in a Place; it sorts behind all StepKinds."""
MOST_LETTERS = 1_000
Place = tuple[int, int, int, int]
"""The order of a run's steps: time, then kind, partition and offset of the step's record."""


class Telling(NamedTuple):
    """A step, with the fields that a stream can be filtered by."""

    kind: StepKind
    partition: int
    offset: int
    run_id: str | None
    assistant_id: str | None
    model: str | None
    step: Step


class Topics(NamedTuple):
    """The topics of the steps by kind, and the topic of dead letters."""

    by_kind: Mapping[StepKind, str]
    dead_letters: str


def steps(db: Connection, topics: Topics, run_id: str, limit: int, behind: Place | None) -> list[tuple[Place, Step]]:
    """Return up to `limit` steps of a run behind a place, each with its own place."""
    both = merge(_steps(db, topics, run_id, limit, behind), _letters(db, topics, run_id, behind), key=itemgetter(0))
    return list(islice(both, limit))


def since(
    db: Connection, topics: Topics, read: Mapping[tuple[StepKind, int], int], kinds: Sequence[StepKind], limit: int
) -> list[Telling]:
    """Return the steps from given offsets on, at most `limit` of each partition, in its order.

    `read`: the next offset of each partition; a partition that is not in it is read from the beginning.
    """
    tellings: list[Telling] = []
    for kind in kinds:
        for partition in partitions(db, kind):
            rows = db.execute(
                f"SELECT {COLUMNS} FROM steps WHERE kind = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                [kind, partition, read.get((kind, partition), 0), limit],
            )
            tellings += [_telling(topics, row) for row in rows]
    return tellings


def ends(db: Connection, kinds: Sequence[StepKind]) -> dict[tuple[StepKind, int], int]:
    """Return the offset behind the last step of each partition."""
    return {
        (kind, partition): 1
        + db.execute("SELECT max(offset) FROM steps WHERE kind = ? AND partition = ?", [kind, partition]).fetchone()[0]
        for kind in kinds
        for partition in partitions(db, kind)
    }


def _steps(db: Connection, topics: Topics, run_id: str, limit: int, behind: Place | None) -> list[tuple[Place, Step]]:
    span = "" if behind is None else "AND (at, kind, partition, offset) > (?, ?, ?, ?)"
    rows = db.execute(
        f"SELECT {COLUMNS} FROM steps INDEXED BY steps_run WHERE run_id = ? {span} "
        "ORDER BY at, kind, partition, offset LIMIT ?",
        [run_id, *(behind or ()), limit],
    )
    return [((row[4], *row[:3]), _telling(topics, row).step) for row in rows]


def _letters(db: Connection, topics: Topics, run_id: str, behind: Place | None) -> list[tuple[Place, Step]]:
    """Return the dead letters of a run as steps, in the order of the events' own times."""
    rows = db.execute(
        "SELECT partition, offset, written, reason, topic, source, packed FROM letters WHERE run_id = ? "
        "ORDER BY written LIMIT ?",
        [run_id, MOST_LETTERS],
    )
    placed_steps: list[tuple[Place, Step]] = []
    for partition, offset, written, reason, topic, source, packed in rows:
        letter = unpack_letter(packed)
        step = Step(
            what="arrival",
            at=letter.source_timestamp if letter.source_timestamp > 0 else written,
            recorded_at=written,
            verdict=REJECTED,
            reason=reason,
            message=letter.message,
            source_topic=topic,
            source_partition=source,
            source_offset=letter.source_offset,
            topic=topics.dead_letters,
            partition=partition,
            offset=offset,
        )
        place = (step.at, LETTER, partition, offset)
        if behind is None or place > behind:
            placed_steps.append((place, step))
    return sorted(placed_steps, key=itemgetter(0))


def _telling(topics: Topics, row: Sequence[Any]) -> Telling:
    """Turn a row of COLUMNS into a Telling."""
    kind, partition, offset, run_id, at, recorded, packed = row
    topic = topics.by_kind[kind]
    if kind == StepKind.ALERT:
        alert = unpack_alerted(packed)
        step = _alert(alert, at, recorded, topic, partition, offset)
        return Telling(StepKind(kind), partition, offset, run_id, alert.assistant_id, alert.model, step)
    arrival = unpack_arrived(packed)
    step = Step(
        what="arrival",
        at=at,
        recorded_at=recorded,
        verdict=arrival.verdict,
        from_status=arrival.from_status,
        to_status=arrival.to_status,
        in_from_ms=arrival.in_from_ms,
        expected=arrival.expected,
        outcome=arrival.outcome,
        error_code=arrival.error_code,
        reason=arrival.reason,
        attempt=arrival.attempt,
        source_topic=arrival.source_topic,
        source_partition=arrival.source_partition,
        source_offset=arrival.source_offset,
        topic=topic,
        partition=partition,
        offset=offset,
    )
    return Telling(StepKind(kind), partition, offset, run_id, arrival.assistant_id, arrival.model, step)


def _alert(alert: Alerted, at: int, recorded: int, topic: str, partition: int, offset: int) -> Step:
    return Step(
        what="alert",
        at=at,
        recorded_at=recorded,
        to_status=alert.status,
        message=alert.summary,
        alert_id=alert.alert_id,
        kind=alert.kind,
        severity=alert.severity,
        state=alert.state,
        source_topic=alert.source_topic,
        source_partition=alert.source_partition,
        source_offset=alert.source_offset,
        topic=topic,
        partition=partition,
        offset=offset,
    )
