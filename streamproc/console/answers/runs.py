"""Runs, and what happened to them."""

from typing import Any, Literal

from streamproc.console.answers.common import Answer, AsOf, Ms, Seconds


class Usage(Answer):
    """Token counts of a run."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Run(Answer):
    """The latest state of a run, by the names of RunState.

    `deadline_at`: when the limit of its status is over; `overdue_at`: when it expires; None where there is none.
    `ends_first_at`: the earlier of the two. `is_illegal`: an event contradicted its end. `metadata`: the keys that the
    setting index_metadata names.
    """

    run_id: str
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    status: str
    outcome: str | None
    is_open: bool
    is_illegal: bool
    status_since: Ms
    first_seen_at: Ms
    created_at: Seconds | None
    started_at: Seconds | None
    expires_at: Seconds | None
    ended_at: Seconds | None
    transitions: int
    attempt: int
    usage: Usage | None
    error_code: str | None
    required_tools: list[str]
    alerts: list[str]
    deadline_at: Ms | None
    overdue_at: Ms | None
    ends_first_at: Ms | None
    metadata: dict[str, str]
    source_topic: str
    source_partition: int
    source_offset: int
    event_schema: str


class Runs(Answer):
    """A page of runs. `total`: how many there are in all, None where counting would need a scan.

    `is_partial`: the time for one request ended before the page was full; `next` goes on from there.
    """

    items: list[Run]
    next: str | None
    total: int | None
    is_partial: bool
    as_of: AsOf


class Link(Answer):
    """A link from the setting `links`."""

    name: str
    url: str


class RunDetail(Answer):
    """One run. `run` None: it is forgotten, and only its history is left.

    `object`: the decoded RunObject of the last event; None without the right to payloads, or for the reason in
    `object_note`.
    """

    run: Run | None
    object: Any
    object_note: str | None
    links: list[Link]
    as_of: AsOf


class Step(Answer):
    """One entry of a run's history: an arrival with its verdict, or an alert.

    `verdict`: applied, duplicate, stale, illegal, rejected. `from_status`: None for the run's first one. `to_status`:
    the status in the event. `in_from_ms`: how long the run had been in `from_status`. `at`: the event's own time, or
    when the alert was decided; `recorded_at`: when streamproc wrote the record. `source_*`: the place of the event;
    `topic`, `partition`, `offset`: the place of this record. `reason`, `message`: why the event changed nothing, or was
    rejected. For an alert: `alert_id`, `kind`, `severity`, `state`, and its summary as `message`.
    """

    what: Literal["arrival", "alert"]
    at: Ms
    recorded_at: Ms
    verdict: str | None = None
    from_status: str | None = None
    to_status: str | None = None
    in_from_ms: int | None = None
    expected: bool | None = None
    outcome: str | None = None
    error_code: str | None = None
    reason: str | None = None
    message: str | None = None
    attempt: int | None = None
    alert_id: str | None = None
    kind: str | None = None
    severity: str | None = None
    state: str | None = None
    source_topic: str | None = None
    source_partition: int | None = None
    source_offset: int | None = None
    topic: str = ""
    partition: int = 0
    offset: int = 0


class History(Answer):
    """The history of a run, the earliest step first."""

    items: list[Step]
    next: str | None
    as_of: AsOf


class Values(Answer):
    """The completions of a qualifier, each with its number of runs, the most frequent first."""

    items: list[tuple[str, int]]
    as_of: AsOf
