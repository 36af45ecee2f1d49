"""Alerts as they are now, and dead letters."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

from streamproc.console.answers.signals import Alert, Letter, LetterGroup
from streamproc.console.model.entries import Alerted, unpack_alerted, unpack_letter
from streamproc.console.queries.paging import Key, PagedTable, Part, page
from streamproc.console.reads import AlertFilter, LetterFilter

MOST_GROUPS = 200
FIRING, RESOLVED, OVER = "firing", "resolved", "over"
ALERTS = PagedTable("alerts", "alerts_decided", ("decided", "alert_id"))
FIRST_FIRING = ALERTS._replace(by="alerts_firing", within=[(f"state = '{FIRING}'", ())])
LETTERS = PagedTable("letters", "letters_written", ("written", "partition", "offset"))
LETTER_COLUMNS = "reason, schema, topic, source, replayed, packed"
STORED_FIELDS = [name for name in Alert.__struct_fields__ if name in Alerted.__struct_fields__]
"""The fields that an answer takes over from a stored alert."""


def alerts(
    db: Connection, wanted: AlertFilter, limit: int, behind: Key | None, now_ms: int
) -> tuple[list[Alert], Key | None]:
    """Return up to `limit` alerts behind a key, decided last first; and the key behind which there may be more."""
    source, tried = FIRST_FIRING if wanted.state in (FIRING, OVER) else ALERTS, list[Part]()
    if wanted.run_id is not None:
        source = ALERTS._replace(by="alerts_run", within=[("run_id = ?", [wanted.run_id])])
    if wanted.state is not None:
        tried.append(_in_state(wanted.state, now_ms))
    pairs = (("kind", wanted.kind), ("assistant", wanted.assistant))
    tried += [(f"{column} = ?", [value]) for column, value in pairs if value is not None]
    rows, last = page(db, source, "ends, fired, resolved, packed", tried, limit, behind)
    return [_alert(ends, fired, resolved, packed, now_ms) for _, _, ends, fired, resolved, packed in rows], last


def firing(db: Connection, now_ms: int) -> int:
    """Return how many alerts fire now."""
    condition, values = _in_state(FIRING, now_ms)
    (count,) = db.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM alerts INDEXED BY alerts_firing WHERE {condition} LIMIT 100000)",
        values,
    ).fetchone()
    return int(count)


def _in_state(state: str, now_ms: int) -> Part:
    """Return the condition for a state; what is an occurrence fires no longer once it is no news."""
    if state == RESOLVED:
        return "state = 'resolved'", ()
    return f"state = 'firing' AND {'ends <= ?' if state == OVER else '(ends IS NULL OR ends > ?)'}", [now_ms]


def letters(db: Connection, wanted: LetterFilter, limit: int, behind: Key | None) -> tuple[list[Letter], Key | None]:
    """Return up to `limit` letters behind a key, rejected last first; and the key behind which there may be more."""
    pairs = {"reason": wanted.reason, "schema": wanted.schema, "topic": wanted.topic, "source": wanted.partition}
    tried: list[Part] = [(f"{column} = ?", [value]) for column, value in pairs.items() if value is not None]
    if wanted.open_only:
        tried.append(("replayed IS NULL", ()))
    rows, last = page(db, LETTERS, LETTER_COLUMNS, tried, limit, behind)
    return [_letter(row) for row in rows], last


def letter(db: Connection, partition: int, offset: int) -> Letter | None:
    """Return one dead letter."""
    row = db.execute(
        f"SELECT written, partition, offset, {LETTER_COLUMNS} FROM letters WHERE partition = ? AND offset = ?",
        [partition, offset],
    ).fetchone()
    return None if row is None else _letter(row)


def groups(db: Connection) -> list[LetterGroup]:
    """Return the groups of dead letters, the largest first."""
    rows = db.execute(
        "SELECT reason, schema, topic, source, letters, open, first, last FROM letter_groups "
        "ORDER BY letters DESC LIMIT ?",
        [MOST_GROUPS],
    )
    names = ("reason", "schema", "source_topic", "source_partition", "count", "open", "first_at", "last_at")
    return [LetterGroup(**dict(zip(names, row, strict=True))) for row in rows]


def letter_counts(db: Connection) -> tuple[int, int]:
    """Return how many dead letters there are, and how many of them were not replayed."""
    count, open_ = db.execute("SELECT coalesce(sum(letters), 0), coalesce(sum(open), 0) FROM letter_groups").fetchone()
    return count, open_


def _alert(ends: int | None, fired: int | None, resolved: int | None, packed: bytes, now_ms: int) -> Alert:
    stored = unpack_alerted(packed)
    is_over = stored.state == FIRING and ends is not None and ends <= now_ms
    fields = {name: getattr(stored, name) for name in STORED_FIELDS}
    return Alert(**{**fields, "state": OVER if is_over else stored.state}, fired_at=fired, resolved_at=resolved)


def _letter(row: Sequence[Any]) -> Letter:
    written, partition, offset, reason, schema, topic, source, replayed, packed = row
    content = unpack_letter(packed)
    return Letter(
        partition=partition,
        offset=offset,
        reason=reason,
        message=content.message,
        schema=schema,
        key=content.key,
        source_topic=topic,
        source_partition=source,
        source_offset=content.source_offset,
        source_timestamp=content.source_timestamp,
        written_at=written,
        bytes=content.bytes,
        attempt=content.attempt,
        replayed_at=replayed,
    )
