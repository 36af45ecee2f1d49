"""What run-metrics and run-alerts must hold, by one pass over the events: no batches, marks, calendars or partial sums.

Each event is judged by the fold; what it amounts to is one Fact; windows are lists of facts. Brute force, so that it is
obviously right: every open run is looked at whenever a second has passed. Made without the modules that it checks:
measure, tally, windows, deadlines, failures.
"""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import fastavro

from streamproc.codec.arrival import Arrival
from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.schemas import load
from streamproc.core.fold import advanced, judge, opened
from streamproc.core.model import Moment, Run, RunEvent, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.summary import summary_of

AHEAD_MS = 300_000
"""Event times further ahead of the clock are not believed."""
LATE_MS = 300_000
"""Events that are later than this give their run so much more time (rules.md 16)."""
LONGEST_MS = 10**12
"""A longer duration comes from a wrong clock."""
LIMITS_S = {"queued": 300, "in_progress": 900, "requires_action": 600, "cancelling": 300}
NO_LIMITS = dict.fromkeys(LIMITS_S, 0)
BOUNDS_S = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600)
OUTCOMES = {
    "completed": "succeeded",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}
ENDS = {"completed": "completed_at", "incomplete": "completed_at", "failed": "failed_at", "cancelled": "cancelled_at"}


class Limits(NamedTuple):
    """The deadlines in force, in seconds; 0: none."""

    allowance_s: int = 30
    overdue: bool = True
    stuck_s: Mapping[str, int] = LIMITS_S
    assistants: Mapping[str, Mapping[str, int]] = {}

    def of(self, run: Run) -> dict[str, tuple[int, int]]:
        """Return since when and until when, in milliseconds, for each kind of deadline that the run has."""
        if run.status not in LIMITS_S:
            return {}
        own = self.assistants.get(run.assistant_id or "", {})
        limit_ms = 1000 * own.get(run.status, self.stuck_s.get(run.status, 0))
        found = {f"stuck_{run.status}": (run.status_since, run.status_since + limit_ms)} if limit_ms else {}
        if self.overdue and run.expires_at is not None:
            found["overdue"] = (run.expires_at * 1000, run.expires_at * 1000)
        return found


UNLIMITED = Limits(overdue=False, stuck_s=NO_LIMITS)


class Said(NamedTuple):
    """An alert, as far as it does not depend on wording. Times in milliseconds."""

    alert_id: str
    kind: str
    severity: str
    state: str
    subject: tuple[str | None, str | None, str | None]
    """Run, assistant, model."""
    status: str | None
    since: int
    deadline_at: int | None
    ends_at: int | None
    decided_at: int
    source: tuple[int, int] | None
    """Partition and offset."""


class Fact(NamedTuple):
    """What one applied event amounts to. `at` in milliseconds; durations in milliseconds."""

    at: int
    assistant_id: str | None
    model: str | None
    created: bool = False
    to_status: str | None = None
    outcome: str | None = None
    run_duration: int | None = None
    queue_wait: int | None = None
    action_wait: int | None = None
    error: str | None = None
    tokens: tuple[int, int] = (0, 0)


class WindowOf(NamedTuple):
    """A window."""

    assistant_id: str | None
    model: str | None
    size_ms: int
    start: int


Totals = dict[str, Any]
"""The fields of RunMetrics that are sums; counts of zero are left out."""


@dataclass
class SourcePass:
    """One pass over the events of one input partition, in the order of arrival."""

    partition: int = 0
    limits: Limits = UNLIMITED
    runs: dict[str, Run] = field(default_factory=dict)
    firing: dict[str, dict[str, Said]] = field(default_factory=lambda: defaultdict(dict))
    told: set[tuple[str, str, str]] = field(default_factory=set)
    late: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How late each run's status began: behind the stream, behind the clock."""
    facts: list[Fact] = field(default_factory=list)
    alerts: list[Said] = field(default_factory=list)
    stream_time: int = 0
    second: int = -1

    def arrive(self, event: RunEvent, wall_ms: int) -> None:
        """Take one event."""
        credible = event.timestamp <= wall_ms + AHEAD_MS
        if credible:
            self.stream_time = max(self.stream_time, event.timestamp)
        before = self.runs.get(event.run_id)
        repeats = before is not None and (before.event, before.event_schema) == (event.payload, event.schema)
        move = judge(before, event, ASSISTANTS, repeats=repeats)
        if move.verdict is Verdict.APPLIED:
            at = Moment(wall_ms, caught_up=False)
            after = opened(event, ASSISTANTS, at) if before is None else advanced(before, event, ASSISTANTS, at)
            self.runs[event.run_id] = after
            if before is None or before.status != after.status:
                self.late[event.run_id] = (
                    _late(self.stream_time - event.timestamp),
                    _late(wall_ms - event.timestamp),
                )
            self.facts += _facts(before, after, event, event.timestamp if credible else self.stream_time or wall_ms)
            if before is not None:
                self._resolve(before, after, event)
        elif move.verdict is Verdict.ILLEGAL and before is not None:
            self._illegal(before, event)
        second, self.second = self.second, self.stream_time // 1000
        # In between, only the event's own run can have got a deadline that has passed.
        only = self.runs.get(event.run_id) if second == self.second else None
        self.pass_time(self.stream_time, self.runs.values() if only is None else [only])

    def pass_time(self, now: int, runs: Iterable[Run] | None = None, *, by_clock: bool = False) -> None:
        """Fire what passed, in stream time or, where all is read, by the clock: judged at every full second."""
        for run in self.runs.values() if runs is None else runs:
            for kind, (since, deadline) in self.limits.of(run).items():
                late_ms = self._late_ms(run, now, by_clock=by_clock)
                more_ms = 0 if kind == "overdue" and deadline > run.status_since + late_ms else late_ms
                tick = -(-(deadline + more_ms + self.limits.allowance_s * 1000) // 1000) * 1000
                if tick <= now and kind not in self.firing[run.run_id]:
                    self._fire(run, kind, since, deadline, tick)

    def _late_ms(self, run: Run, now: int, *, by_clock: bool) -> int:
        in_stream, on_clock = self.late[run.run_id]
        is_behind = now <= run.status_since + on_clock - LATE_MS
        return in_stream if is_behind and not by_clock else max(in_stream, on_clock)

    def _fire(self, run: Run, kind: str, since: int, deadline: int, tick: int) -> None:
        said = Said(
            alert_id=f"{kind}:{run.run_id}:{run.offset if kind == 'overdue' else run.status_offset}",
            kind=kind,
            severity="warning",
            state="firing",
            subject=(run.run_id, run.assistant_id, run.model),
            status=run.status,
            since=since,
            deadline_at=deadline,
            ends_at=None,
            decided_at=tick,
            source=(self.partition, run.offset),
        )
        self.firing[run.run_id][kind] = said
        self.alerts.append(said)

    def _resolve(self, before: Run, after: Run, event: RunEvent) -> None:
        """A run is stuck no longer once it left the status, and overdue no longer once it ended or got more time."""
        held = self.limits.of(after)
        for kind, said in list(self.firing[after.run_id].items()):
            moved_on = kind != "overdue" and after.status_offset != before.status_offset
            if moved_on or kind not in held or held[kind][0] != said.since:
                del self.firing[after.run_id][kind]
                self.alerts.append(
                    said._replace(
                        state="resolved",
                        subject=(before.run_id, before.assistant_id, before.model),
                        status=before.status,
                        deadline_at=None,
                        ends_at=max(said.since, min(event.timestamp, self.stream_time)),
                        decided_at=self.stream_time,
                        source=(self.partition, before.offset),
                    )
                )

    def _illegal(self, run: Run, event: RunEvent) -> None:
        """Once for each run and pair of statuses."""
        if (run.run_id, run.status, event.status) in self.told:
            return
        self.told.add((run.run_id, run.status, event.status))
        since = min(event.timestamp, self.stream_time)
        self.alerts.append(
            Said(
                alert_id=f"illegal:{run.run_id}:{run.status}:{event.status}:{run.status_offset}",
                kind="illegal",
                severity="warning",
                state="firing",
                subject=(run.run_id, run.assistant_id, run.model),
                status=event.status,
                since=since,
                deadline_at=None,
                ends_at=since + 300_000,
                decided_at=self.stream_time,
                source=(self.partition, event.offset),
            )
        )


def one_pass(events: Iterable[RunEvent], wall_ms: int, limits: Limits = UNLIMITED, partition: int = 0) -> SourcePass:
    """Return what comes of the events of one input partition; all of them arrive at `wall_ms`."""
    found = SourcePass(partition, limits)
    for event in events:
        found.arrive(event, wall_ms)
    return found


def windows(facts: Iterable[Fact], sizes_ms: Sequence[int]) -> dict[WindowOf, Totals]:
    """Return the totals of every window that holds a fact."""
    held: dict[WindowOf, list[Fact]] = defaultdict(list)
    for fact in facts:
        for size_ms in sizes_ms:
            start = fact.at // size_ms * size_ms
            held[WindowOf(_name(fact.assistant_id), _name(fact.model), size_ms, start)].append(fact)
    return {window: total(found) for window, found in held.items()}


def total(facts: Sequence[Fact]) -> Totals:
    """Add up."""
    return {
        "created": sum(fact.created for fact in facts),
        "ended": dict(Counter(fact.outcome for fact in facts if fact.outcome)),
        "errors": dict(Counter(_code(fact.error) for fact in facts if fact.error is not None)),
        "transitions": dict(Counter(fact.to_status for fact in facts if fact.to_status)),
        "tokens": _present(
            {"prompt": sum(fact.tokens[0] for fact in facts), "completion": sum(fact.tokens[1] for fact in facts)}
        ),
        **{name: histogram(facts, name) for name in ("queue_wait", "run_duration", "action_wait")},
    }


def histogram(facts: Iterable[Fact], name: str) -> dict[str, Any]:
    """Return the durations `name` of the facts as RunMetrics has them."""
    durations = [min(getattr(fact, name), LONGEST_MS) for fact in facts if getattr(fact, name) is not None]
    found = Counter(
        next((str(int(bound * 1000)) for bound in BOUNDS_S if duration <= bound * 1000), "+Inf")
        for duration in durations
    )
    return {"count": len(durations), "sum_ms": sum(durations), "buckets": dict(found)}


class FailureLimits(NamedTuple):
    """When a failure rate is told about."""

    size_ms: int = 60_000
    grace_ms: int = 30_000
    min_ended: int = 20
    rates: Mapping[str, str] = {"warning": "0.1", "critical": "0.3"}
    outcomes: Sequence[str] = ("failed",)


def failure_alerts(found: Mapping[WindowOf, Totals], limits: FailureLimits) -> Iterator[Said]:
    """Yield what fires and resolves, where every window has closed, also the empty one after each."""
    groups: dict[tuple[str | None, str | None], dict[int, Totals]] = defaultdict(dict)
    for window, totals in found.items():
        if window.size_ms == limits.size_ms:
            groups[window.assistant_id, window.model][window.start] = totals
    for group, held in groups.items():
        for severity, rate in limits.rates.items():
            yield from _of_group(group, held, severity, Fraction(rate), limits)


def _of_group(
    group: tuple[str | None, str | None],
    held: Mapping[int, Totals],
    severity: str,
    rate: Fraction,
    limits: FailureLimits,
) -> Iterator[Said]:
    """Go through the group's windows, one after the other; the one after a failing one may be empty."""
    fires: Said | None = None
    for start in sorted(held.keys() | {start + limits.size_ms for start in held}):
        failing = start in held and _holds(held[start], rate, limits)
        closes = start + limits.size_ms + limits.grace_ms
        if failing and fires is None:
            key = json.dumps(group, separators=(",", ":"), ensure_ascii=False)
            fires = Said(
                alert_id=f"failure_rate:{severity}:{key}:{start}",
                kind="failure_rate",
                severity=severity,
                state="firing",
                subject=(None, *group),
                status=None,
                since=start,
                deadline_at=None,
                ends_at=None,
                decided_at=closes,
                source=None,
            )
            yield fires
        elif not failing and fires is not None:
            yield fires._replace(state="resolved", ends_at=start, decided_at=closes)
            fires = None


def _holds(totals: Totals, rate: Fraction, limits: FailureLimits) -> bool:
    ended, failed = sum(totals["ended"].values()), sum(totals["ended"].get(name, 0) for name in limits.outcomes)
    return bool(ended >= limits.min_ended and failed > 0 and failed >= rate * ended)


def _facts(before: Run | None, after: Run, event: RunEvent, at: int) -> Iterator[Fact]:
    fact = Fact(at, after.assistant_id, after.model)
    ended = event.status in OUTCOMES
    if before is not None and before.status == event.status:
        if ended:  # What the first end did not bring.
            tokens = _tokens(event) if before.usage is None else (0, 0)
            yield fact._replace(error=event.error_code if before.error_code is None else None, tokens=tokens)
        return
    fact = fact._replace(
        created=before is None, to_status=event.status if event.status in (*LIMITS_S, *OUTCOMES) else "other"
    )
    if before is not None:
        in_ms = _elapsed(before.status_since, at)
        if before.status == "requires_action":
            fact = fact._replace(action_wait=in_ms)
        elif (before.status, event.status, before.started_at) == ("queued", "in_progress", None) and (
            before.status_since == before.first_seen_at  # Its first start: it may be queued again.
        ):
            fact = fact._replace(queue_wait=_between(after.created_at, after.started_at, at, in_ms))
    if ended:
        ended_at = getattr(event, ENDS[event.status]) if event.status in ENDS else None
        in_kafka = None if before is None else _elapsed(after.first_seen_at, at)
        fact = fact._replace(
            outcome=OUTCOMES[event.status],
            run_duration=_between(after.created_at, ended_at, at, in_kafka),
            error=event.error_code,
            tokens=_tokens(event),
        )
    yield fact


def _late(by_ms: int) -> int:
    return by_ms if by_ms > LATE_MS else 0


def _tokens(event: RunEvent) -> tuple[int, int]:
    prompt, completion, _ = event.usage or (0, 0, 0)
    return max(0, min(prompt, 10**12)), max(0, min(completion, 10**12))


def _between(start_s: int | None, end_s: int | None, occurred_at: int, in_kafka_ms: int | None) -> int | None:
    """From the object's own start to its own end, else to the event; where these do not fit, by Kafka's times."""
    own = None if start_s is None else _elapsed(start_s * 1000, occurred_at if end_s is None else end_s * 1000)
    return in_kafka_ms if own is None else own


def _elapsed(start_ms: int, end_ms: int) -> int | None:
    """Clocks differ by up to five minutes; an end that is further before its start is none."""
    return max(0, end_ms - start_ms) if end_ms - start_ms >= -LATE_MS else None


def _name(value: str | None) -> str | None:
    return "other" if value is not None and len(value) > 256 else value


def _code(value: str) -> str:
    return "other" if len(value) > 64 else value


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def totals_of(summed: Any) -> Totals:
    """Return core totals as RunMetrics has them."""
    summed = summary_of(summed)
    return {
        "created": summed.created,
        **{name: _present(getattr(summed, name)) for name in ("ended", "errors", "transitions", "tokens")},
        **{name: _comparable(getattr(summed, name)) for name in ("queue_wait", "run_duration", "action_wait")},
    }


def said(alert: Any, partition: int | None = None) -> Said:
    """Return an alert of the core, or one read from run-alerts, as far as it can be compared."""
    partition = alert.source_partition if partition is None else partition
    return Said(
        alert_id=alert.alert_id,
        kind=alert.kind,
        severity=str(alert.severity),
        state=str(alert.state),
        subject=(alert.run_id, alert.assistant_id, alert.model),
        status=alert.status,
        since=alert.since,
        deadline_at=alert.deadline_at,
        ends_at=alert.ends_at,
        decided_at=alert.decided_at,
        source=None if alert.source_offset is None or partition is None else (partition, alert.source_offset),
    )


class Revision(NamedTuple):
    """One RunMetrics record."""

    number: int
    totals: Totals
    late: int


def revisions(records: Iterable[Arrival]) -> dict[WindowOf, list[Revision]]:
    """Return what run-metrics holds, by window, in the order of the records."""
    found: dict[WindowOf, list[Revision]] = defaultdict(list)
    for record in records:
        held = read(record, "run_metrics")
        start, end = held.pop("window_start"), held.pop("window_end")
        window = WindowOf(held.pop("assistant_id"), held.pop("model"), end - start, start)
        number, late = held.pop("revision"), held.pop("late")
        counts = {name: _present(held[name]) for name in ("ended", "errors", "transitions", "tokens")}
        durations = {name: _comparable(held[name]) for name in ("queue_wait", "run_duration", "action_wait")}
        found[window].append(Revision(number, {**held, **counts, **durations}, late))
    return found


def latest(found: Mapping[WindowOf, Sequence[Revision]]) -> dict[WindowOf, Totals]:
    """Return the highest revisions; every window must have its revisions from 0 on, each once and in order."""
    for window, held in found.items():
        assert [revision.number for revision in held] == list(range(len(held))), window
    return {window: held[-1].totals for window, held in found.items()}


def alerts(records: Iterable[Arrival]) -> list[Said]:
    """Return what run-alerts holds."""
    return [said(_Fields(read(record, "run_alert"))) for record in records]


def read(record: Arrival, schema: str) -> dict[str, Any]:
    """Return the fields of a record, by the reference decoder; times in milliseconds."""
    payload = io.BytesIO((record.value or b"")[SINGLE_OBJECT_BYTES:])
    found: Any = fastavro.schemaless_reader(payload, load(schema).parsed, None)
    return dict(found)


class _Fields:
    """A decoded record's fields as attributes."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields)


def _comparable(durations: Any) -> dict[str, Any]:
    if not isinstance(durations, dict):
        buckets = {bucket: count for bucket, count in durations.buckets.items() if bucket != "unmeasured"}
        durations = {"count": durations.count, "sum_ms": durations.sum_ms, "buckets": buckets}
    return {**durations, "buckets": _present(durations["buckets"])}
