"""docs/reference/alerts.md: kinds of alerts about runs, and the rules that ship for Prometheus."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from streamproc.core import deadlines, silence
from streamproc.core.alerts import OVERDUE, STUCK, AlertState, Severity
from streamproc.core.failures import FailureRules
from streamproc.core.profiles import PROFILES
from streamproc.notify.naming import alert_name, page_name
from streamproc.observe.counters import FURTHER_ALERTS
from tests.docs.reference import meanings
from tests.docs.reference.markdown import code, codes, page, table

RULES = Path(__file__).parents[3] / "deploy/prometheus/rules"
EACH = f"{STUCK}<status>"
KINDS = """\
The field `kind` of a record of run-alerts, and the label `kind` of `streamproc_alerts_total`. Pushed alerts have the
name as `alertname`, and the severity. How to receive them: [Alerts](../alerts.md)."""
STUCK_KINDS = """\
One for each open status of the profile in force. Limits are the profile's; `deadlines.limits_s` sets others. The
last column: the runbook's page in `deploy/runbooks`."""
OF_PROMETHEUS = """\
In `deploy/prometheus/rules`, on the [metrics](metrics.md). They have the names of the alerts about runs where they
are about the same. Each one has a runbook of its name in `deploy/runbooks`."""


def text() -> str:
    """Return the page."""
    return page(
        "Alerts",
        "the code's kinds and the Prometheus rules",
        f"## Kinds\n\n{KINDS}\n\n{_kinds()}",
        f"## Stuck in a status\n\n{STUCK_KINDS}\n\n{_stuck()}",
        f"## Prometheus rules\n\n{OF_PROMETHEUS}",
        *(_rules(path) for path in sorted(RULES.glob("*.yml"))),
    )


def _kinds() -> str:
    kinds = (EACH, OVERDUE, *FURTHER_ALERTS)
    meanings.same(kinds, meanings.ALERTS)
    rows = [(code(kind), code(_name(kind)), codes(_severities(kind)), *meanings.ALERTS[kind]) for kind in kinds]
    return table(("kind", "name", "severity", "fires", "resolves"), rows)


def _name(kind: str) -> str:
    return f"{alert_name(STUCK)}<Status>" if kind == EACH else alert_name(kind)


def _severities(kind: str) -> list[Severity]:
    """Return the severities that the code gives to alerts of a kind."""
    run: Any = SimpleNamespace(**dict.fromkeys(("run_id", "thread_id", "assistant_id", "model"), ""), status="queued")
    run.status_since = run.status_offset = run.offset = run.expires_at = 0
    event: Any = SimpleNamespace(timestamp=0, status="failed", offset=0)
    stream: Any = SimpleNamespace(stream="", silence_ms=0)
    gap: Any = SimpleNamespace(since=0)
    match kind:
        case "overdue":
            return [deadlines._overdue(run, 0).severity]
        case "illegal":
            return [deadlines.illegal(run, event, 0).severity]
        case "failure_rate":
            return [severity for severity, _ in FailureRules().thresholds]
        case "stream_silent":
            return [silence._alert(gap, stream, AlertState.FIRING, 0, "").severity]
        case _:
            return [deadlines._stuck(run, 0, 0).severity]


def _stuck() -> str:
    rows = [
        (code(name), code(STUCK + status), code(alert_name(STUCK + status)), _limit(limits.get(status)), _page(status))
        for name, limits, statuses in ((one.name, one.limits_s, one.documented) for one in PROFILES.values())
        for status in statuses
    ]
    return table(("profile", "kind", "name", "limit", "runbook"), rows)


def _limit(seconds: int | None) -> str:
    return f"{seconds:,} s" if seconds else "none"


def _page(status: str) -> str:
    return code(f"{page_name(STUCK + status)}.md")


def _rules(path: Path) -> str:
    rows = [
        (
            code(rule["alert"]),
            code(rule["labels"]["severity"]),
            rule.get("for", "at once"),
            rule["annotations"]["summary"],
        )
        for rule in _alerting(path)
    ]
    return f"### {path.name}\n\n{table(('alert', 'severity', 'for', ''), rows)}" if rows else ""


def _alerting(path: Path) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(path.read_text())["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)
