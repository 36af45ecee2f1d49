"""A made-up fleet for the console: runs with histories that fit, alerts, dead letters, instances, and hostile names."""

import random
from typing import Any, NamedTuple

from streamproc.console.answers.common import AsOf, Ms
from streamproc.console.answers.fleet import Instance, PartitionStatus, Rate, SeriesPoint
from streamproc.console.answers.runs import Run, Step, Usage
from streamproc.console.answers.signals import Alert, Letter

NOW_MS: Ms = 1_796_212_800_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
LIMITS_S = {"queued": 300, "in_progress": 900, "requires_action": 600, "cancelling": 300}
OUTCOMES = {
    "completed": "succeeded",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "</title></textarea></style></script>",
    "a/b/../../c",
    "..",
    ".",
    "?q=status:failed#top",
    "%2e%2e%2f%00",
    'say "what" \\ and: why, -not',
    "\u202egnp.exe",
    "\u2066isolated\u2069 \u200eleft\u200f",
    "nul\x00 bell\x07 esc\x1b[31m",
    "line\r\nbreak\u2028and\u2029more\ttab",
    "e\u0301\u0301\u0301 日本 🦀 ﷽",
    "long " + "x" * 250,
    "the end\n",
    "a\r\nb/history",
)
"""Names that must do nothing but be shown."""
MEGABYTE = "<b>" + "m" * 1_048_573
ASSISTANTS = ("asst_support", "asst_billing", "asst_research", "asst_triage", "asst_sql", "asst_onboarding")
MODELS = ("gpt-4o", "gpt-4o-mini", "o3", "claude-sonnet-4", "llama-3.1-70b")
PATHS: tuple[tuple[int, tuple[tuple[str, int], ...]], ...] = (
    (50, (("queued", 4), ("in_progress", 70), ("completed", 0))),
    (
        10,
        (
            ("queued", 6),
            ("in_progress", 40),
            ("requires_action", 180),
            ("queued", 3),
            ("in_progress", 60),
            ("completed", 0),
        ),
    ),
    (10, (("queued", 5), ("in_progress", 90), ("failed", 0))),
    (6, (("queued", 8), ("in_progress", 30), ("requires_action", 590), ("expired", 0))),
    (4, (("queued", 3), ("in_progress", 50), ("cancelling", 12), ("cancelled", 0))),
    (3, (("queued", 3), ("in_progress", 120), ("incomplete", 0))),
    (3, (("queued", 9_000),)),
    (5, (("queued", 3), ("in_progress", 9_000))),
    (9, (("queued", 3), ("in_progress", 45), ("requires_action", 9_000))),
)
ENDLESS_S = 9_000
"""A run that is in such a status is in it still; most of them not for long."""
ERRORS = ("rate_limit_exceeded", "server_error", "invalid_prompt", "tool_user_error")
PARTITIONS = 12


class Life(NamedTuple):
    """A run and what happened to it."""

    run: Run
    steps: list[Step]


def as_of(behind_s: float = 0.4) -> AsOf:
    return AsOf(
        partitions={f"run-transitions:{n}": 1_000 + n for n in range(PARTITIONS)},
        behind_s=behind_s,
        rebuild=None,
        notes=[],
    )


def lives(count: int = 260, *, hostile: bool = True) -> list[Life]:
    """Return ordinary runs, then one of each hostile name where they are wanted."""
    dice = random.Random(7)
    found = [_life(dice, f"run_{_tag(dice)}", NOW_MS - dice.randrange(20 * SECOND, 50 * MINUTE)) for _ in range(count)]
    return found + [_hostile(dice, name, n) for n, name in enumerate(HOSTILE) if hostile]


def _tag(dice: random.Random) -> str:
    return "".join(dice.choices("ABCDEFGHJKMNPQRSTVWXYZ0123456789abcdefghjkmnpqrstvwxyz", k=24))


def _hostile(dice: random.Random, name: str, n: int) -> Life:
    life = _life(dice, name, NOW_MS - HOUR - n * MINUTE)
    run = life.run
    run.assistant_id = run.model = run.thread_id = name
    run.error_code, run.metadata = name, {name: MEGABYTE if n == 0 else name}
    run.required_tools = [name]
    for step in life.steps:
        step.message = name
    return life


def _life(dice: random.Random, run_id: str, begin: Ms) -> Life:
    [path] = dice.choices([path for _, path in PATHS], [weight for weight, _ in PATHS])
    if path[-1][1] >= ENDLESS_S and dice.random() < 0.85:
        begin = NOW_MS - dice.randrange(30 * SECOND, 9 * MINUTE)
    partition, offset = dice.randrange(PARTITIONS), dice.randrange(400_000, 500_000)
    steps: list[Step] = []
    at, before, since = begin, None, begin
    for status, seconds in path:
        if at > NOW_MS:
            break
        failed = status == "failed"
        steps.append(
            Step(
                what="arrival",
                at=at,
                recorded_at=at + dice.randrange(40, 900),
                verdict="applied",
                from_status=before,
                to_status=status,
                in_from_ms=at - since if before else None,
                expected=dice.random() > 0.03,
                outcome=OUTCOMES.get(status),
                error_code=dice.choice(ERRORS) if failed else None,
                attempt=1,
                source_topic="run-events",
                source_partition=partition,
                source_offset=offset,
                topic="run-transitions",
                partition=partition,
                offset=offset // 2,
            )
        )
        before, since, offset = status, at, offset + dice.randrange(1, 90)
        if dice.random() < 0.12:
            steps.append(_refused(dice, steps[-1], at + 2 * SECOND, offset))
        at += int(seconds * SECOND * dice.uniform(0.6, 1.4))
    return _alerted(_run(dice, run_id, steps, partition), steps)


def _refused(dice: random.Random, after: Step, at: Ms, offset: int) -> Step:
    verdict, reason, said = dice.choice(
        (
            ("duplicate", "repeated", after.to_status),
            ("stale", "no_news", "queued"),
            ("duplicate", "rewritten", after.to_status),
        )
    )
    if after.outcome is not None:
        verdict, reason, said = "illegal", "other_end", "completed" if after.to_status != "completed" else "failed"
    return Step(
        what="arrival",
        at=at,
        recorded_at=at + 300,
        verdict=verdict,
        from_status=after.to_status,
        to_status=said,
        reason=reason,
        attempt=1,
        source_topic="run-events",
        source_partition=after.source_partition,
        source_offset=offset,
        topic="run-verdicts",
        partition=after.partition,
        offset=offset // 40,
    )


def _run(dice: random.Random, run_id: str, steps: list[Step], partition: int) -> Run:
    applied = [step for step in steps if step.verdict == "applied"]
    last = applied[-1]
    status = last.to_status or ""
    limit = LIMITS_S.get(status)
    prompt, completion = dice.randrange(200, 9_000), dice.randrange(40, 2_500)
    ended = last.outcome is not None
    created = applied[0].at // SECOND
    deadline = last.at + limit * SECOND if limit else None
    expires = None if ended else created + 3_600
    return Run(
        run_id=run_id,
        thread_id=f"thread_{_tag(dice)[:14]}",
        assistant_id=dice.choice(ASSISTANTS),
        model=dice.choices(MODELS, (5, 4, 2, 2, 1))[0],
        status=status,
        outcome=last.outcome,
        is_open=not ended,
        is_illegal=any(step.verdict == "illegal" for step in steps),
        status_since=last.at,
        first_seen_at=applied[0].at,
        created_at=created,
        started_at=applied[1].at // SECOND if len(applied) > 1 else None,
        expires_at=expires,
        ended_at=last.at // SECOND if ended else None,
        transitions=len(applied),
        attempt=1,
        usage=Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
        if ended
        else None,
        error_code=last.error_code,
        required_tools=["lookup_order", "refund"] if status == "requires_action" else [],
        alerts=[],
        deadline_at=deadline,
        overdue_at=expires * SECOND if expires else None,
        ends_first_at=min(deadline or NOW_MS * 2, expires * SECOND) if expires else None,
        metadata={"team": dice.choice(("payments", "growth", "core"))},
        source_topic="run-events",
        source_partition=partition,
        source_offset=last.source_offset or 0,
        event_schema="RunObject v2.1 (a41f09c2)",
    )


def _alerted(run: Run, steps: list[Step]) -> Life:
    """Add the alert of a run that is past the limit of its status."""
    if run.is_open and run.deadline_at is not None and run.deadline_at < NOW_MS:
        run.alerts = [f"stuck_{run.status}"]
        steps.append(
            Step(
                what="alert",
                at=run.deadline_at,
                recorded_at=run.deadline_at + 900,
                alert_id=f"stuck_{run.status}:run-events:{run.source_partition}:{run.source_offset}",
                kind=f"stuck_{run.status}",
                severity="warning",
                state="firing",
                message=f"in {run.status} for longer than {LIMITS_S[run.status]} s",
                topic="run-alerts",
                partition=run.source_partition,
                offset=run.source_offset // 90,
            )
        )
    return Life(run, sorted(steps, key=lambda step: step.at))


def alerts(found: list[Life]) -> list[Alert]:
    """Return those of the runs, some that are resolved, one that is about no run, one over."""
    made = [_alert(life.run, step, n) for life in found for n, step in enumerate(life.steps) if step.what == "alert"]
    for alert in made[::4]:
        alert.state, alert.resolved_at = "resolved", min(NOW_MS, alert.since + 4 * MINUTE)
    summary = "31 of 104 runs of gpt-4o failed within 5 minutes (30 %), more than 20 %"
    made.append(_alert(None, _alarm("failure_rate", "critical", "firing", NOW_MS - 7 * MINUTE, summary), 0))
    contradicted = "an event contradicts the run's end"
    odd = [life.run for life in found if life.run.is_illegal]
    made += [_alert(run, _alarm("illegal", "warning", "over", run.status_since, contradicted), 1) for run in odd]
    return sorted(made, key=lambda alert: -(alert.resolved_at or alert.fired_at or alert.since))


def _alarm(kind: str, severity: str, state: str, at: Ms, message: str) -> Step:
    return Step(what="alert", at=at, recorded_at=NOW_MS, kind=kind, severity=severity, state=state, message=message)


def _alert(run: Run | None, step: Step, n: int) -> Alert:
    return Alert(
        alert_id=step.alert_id or f"{step.kind}:run-events:3:{n}",
        kind=step.kind or "",
        severity=step.severity or "warning",
        state=step.state or "firing",
        run_id=run.run_id if run else None,
        thread_id=run.thread_id if run else None,
        assistant_id=run.assistant_id if run else None,
        model=run.model if run else "gpt-4o",
        status=run.status if run else None,
        since=step.at,
        deadline_at=run.deadline_at if run else None,
        ends_at=None,
        fired_at=step.at + SECOND,
        resolved_at=None,
        summary=step.message or "",
    )


def letters(*, hostile: bool = True) -> list[Letter]:
    """Return dead letters of several reasons, those rejected last first."""
    dice = random.Random(3)
    kinds = (
        ("undecodable", "the payload ends in the middle of a string", "RunObject v2.1 (a41f09c2)"),
        ("unknown_schema", "no schema has the id 4711", "id 4711"),
        ("bad_run_id", "no id; found event, data: is this an envelope?", "json"),
        ("bad_time", "created_at looks like milliseconds: set time_unit", "json"),
    )
    found = []
    for n in range(64):
        reason, message, schema = dice.choices(kinds, (8, 4, 3, 2))[0]
        written = NOW_MS - n * 4 * MINUTE - dice.randrange(MINUTE)
        found.append(
            Letter(
                partition=n % 3,
                offset=900 - n,
                reason=reason,
                message=message,
                schema=schema,
                key=HOSTILE[n // 3] if hostile and n % 3 == 0 and n < 60 else f"thread_{_tag(dice)[:14]}",
                source_topic="run-events",
                source_partition=n % 5,
                source_offset=480_000 + n,
                source_timestamp=written - 2_000,
                written_at=written,
                bytes=dice.randrange(90, 4_000),
                attempt=0 if n % 9 else 1,
                replayed_at=written + 3 * MINUTE if n % 6 == 5 else None,
            )
        )
    return found


def instances() -> list[Instance]:
    def one(name: str, n: int, **changes: Any) -> Instance:
        fields: dict[str, Any] = {
            "instance_id": name,
            "version": "0.1.0",
            "host": f"node-{n}.fleet.internal",
            "status": "running",
            "message": "",
            "started_at": NOW_MS - (n + 1) * 26 * HOUR,
            "reported_at": NOW_MS - 1_500 * n,
            "is_ready": True,
            "is_stale": False,
            "partitions": 4,
            "cpu": 0.31 + n / 10,
            "memory_bytes": 412_000_000 + n * 31_000_000,
        }
        return Instance(**{**fields, **changes})

    return [
        one("streamproc-0", 0),
        one("streamproc-1", 1, status="restoring", is_ready=False, message="bringing back the state of run-events-6"),
        one("streamproc-2", 2, is_stale=True, reported_at=NOW_MS - 41 * SECOND),
    ]


def partitions() -> list[PartitionStatus]:
    def one(n: int) -> PartitionStatus:
        return PartitionStatus(
            topic="run-events",
            partition=n,
            instance_id=f"streamproc-{n % 3}",
            state="running",
            reason=None,
            detail=None,
            since=NOW_MS - 26 * HOUR,
            lag_records=(n * 37) % 120,
            lag_s=(n % 4) / 10,
            last_commit_at=NOW_MS - 200 - 80 * n,
            restore_fraction=None,
            restore_left_s=None,
            is_stale=n % 3 == 2,
        )

    found = [one(n) for n in range(PARTITIONS)]
    restoring, paused, unowned = found[4], found[7], found[9]
    restoring.state, restoring.restore_fraction, restoring.restore_left_s = "restoring", 0.62, 48.0
    restoring.since, restoring.lag_records, restoring.lag_s = NOW_MS - 80 * SECOND, 48_210, 96.0
    paused.reason, paused.detail, paused.since = (
        "registry",
        "schema 4711: the registry does not answer",
        NOW_MS - 3 * MINUTE,
    )
    paused.lag_records, paused.lag_s, paused.last_commit_at = 9_120, 184.0, NOW_MS - 3 * MINUTE
    unowned.instance_id, unowned.state, unowned.since, unowned.last_commit_at = None, "unowned", None, None
    unowned.lag_records, unowned.lag_s = 1_204, None
    return found


def rates() -> list[Rate]:
    dice = random.Random(11)
    found = []
    for n in range(90):
        created = dice.randrange(30, 60) + (25 if 40 < n < 55 else 0)
        failed = dice.randrange(0, 4) + (14 if 58 < n < 80 else 0)
        succeeded = max(0, created - failed - dice.randrange(0, 6))
        found.append(
            Rate(
                start=NOW_MS - (90 - n) * 10 * SECOND,
                transitions=created * 4 + dice.randrange(30),
                created=created,
                succeeded=succeeded,
                failed=failed,
                ended=succeeded + failed,
            )
        )
    return found


def windows(since_ms: Ms, until_ms: Ms, size_s: int) -> list[SeriesPoint]:
    """Return those between the two times; the same each time."""
    found = []
    for start in range(since_ms - since_ms % (size_s * SECOND), until_ms, size_s * SECOND):
        dice = random.Random(start)
        created = dice.randrange(180, 260) * size_s // 60
        failed = dice.randrange(2, 24) * size_s // 60
        found.append(
            SeriesPoint(
                start=start,
                end=start + size_s * SECOND,
                created=created,
                ended={"succeeded": created - failed, "failed": failed},
                errors={"server_error": failed},
                transitions={
                    "queued": created,
                    "in_progress": created,
                    "completed": created - failed,
                    "failed": failed,
                },
                tokens={"prompt": created * 3_100, "completion": created * 620},
                failure_rate=failed / created if created else None,
                queue_wait_mean_s=dice.uniform(2, 7),
                run_duration_mean_s=dice.uniform(60, 110),
                action_wait_mean_s=dice.uniform(100, 300),
            )
        )
    return found
