"""What somebody should look at: alerts and dead letters."""

from typing import Any

from streamproc.console.answers.common import Answer, AsOf, Ms


class Alert(Answer):
    """The latest of an alert. `state`: firing, resolved, or over (an occurrence that is no news any more)."""

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
    """A page of alerts, first what was decided last. `firing`: how many fire now."""

    items: list[Alert]
    next: str | None
    firing: int
    as_of: AsOf


class Letter(Answer):
    """A dead letter. `key`: of the event, as text. `replayed_at`: None where it was not sent back."""

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
    """Dead letters that have reason, schema and place in common; `open`: those that were not replayed."""

    reason: str
    schema: str
    source_topic: str
    source_partition: int
    count: int
    open: int
    first_at: Ms
    last_at: Ms


class Letters(Answer):
    """A page of dead letters, those rejected last first, and all groups that there are (the largest 200)."""

    items: list[Letter]
    groups: list[LetterGroup]
    next: str | None
    as_of: AsOf


class LetterDetail(Answer):
    """One dead letter with what it holds, for who has the right to payloads.

    `object`: the value decoded, where that can be. `hex`: its first 4,096 bytes in lines as `dlq show` has them.
    `note`: why one of them is missing.
    """

    letter: Letter
    object: Any
    hex: list[str]
    headers: list[list[str]]
    note: str | None
    as_of: AsOf


class Replay(Answer):
    """What sending dead letters back came to, or would come to. `counts`: letters by what was decided of each.

    `to_replay`: how many a dry run found; a real one is refused where that is another number than was confirmed.
    """

    dry_run: bool
    to_replay: int
    replayed: int
    counts: dict[str, int]
    warnings: list[str]
