"""Alerts and dead letters."""

from typing import Any

from streamproc.console.answers.common import Answer, AsOf, Ms


class Alert(Answer):
    """The latest state of an alert. `state`: firing, resolved, or over (an occurrence whose time has passed)."""

    alert_id: str
    kind: str
    severity: str
    state: str
    run_id: str | None
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    status: str | None
    since: Ms
    deadline_at: Ms | None
    ends_at: Ms | None
    fired_at: Ms | None
    resolved_at: Ms | None
    summary: str


class Alerts(Answer):
    """A page of alerts, the latest decision first. `firing`: how many fire now."""

    items: list[Alert]
    next: str | None
    firing: int
    as_of: AsOf


class Letter(Answer):
    """A dead letter. `key`: the event's key, as text. `replayed_at`: None where it was not sent back."""

    partition: int
    offset: int
    reason: str
    message: str
    schema: str
    key: str | None
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp: Ms
    written_at: Ms
    bytes: int
    attempt: int
    replayed_at: Ms | None


class LetterGroup(Answer):
    """Dead letters with the same reason, schema and source partition; `open`: those that were not replayed."""

    reason: str
    schema: str
    source_topic: str
    source_partition: int
    count: int
    open: int
    first_at: Ms
    last_at: Ms


class Letters(Answer):
    """A page of dead letters, the latest rejection first, and the groups of all letters (the largest 200)."""

    items: list[Letter]
    groups: list[LetterGroup]
    next: str | None
    as_of: AsOf


class LetterDetail(Answer):
    """One dead letter, with its content for callers with the right to payloads.

    `object`: the decoded value, if it can be decoded. `hex`: its first 4,096 bytes, in the lines of `dlq show`. `note`:
    why one of them is missing.
    """

    letter: Letter
    object: Any
    hex: list[str]
    headers: list[list[str]]
    note: str | None
    as_of: AsOf


class Replay(Answer):
    """The result of sending dead letters back, or of a dry run. `counts`: letters by verdict.

    `to_replay`: how many letters are to be sent; a replay is refused where that is not the confirmed number.
    """

    dry_run: bool
    to_replay: int
    replayed: int
    counts: dict[str, int]
    warnings: list[str]
