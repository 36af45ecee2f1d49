"""docs/reference/alerts.md: kinds of alerts about runs, and the rules that ship for Prometheus."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from streamproc.core.alerts import AlertKind
from streamproc.core.profiles import PROFILES
from streamproc.notify.naming import alert_name, page_name
from tests.docs.reference.markdown import code, codes, page, table

RULES = Path(__file__).parents[3] / "deploy/prometheus/rules"
STUCK = AlertKind.STUCK
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
    rows = [
        (*map(code, _names(kind)), kind.subject, codes(kind.severities), kind.fires, kind.resolves)
        for kind in AlertKind
    ]
    return table(("kind", "name", "about", "severity", "fires", "resolves"), rows)


def _names(kind: AlertKind) -> tuple[str, str]:
    """Return a kind as records say it, and its name."""
    is_family = kind is STUCK
    return (f"{kind}<status>", f"{kind.alert_name}In<Status>") if is_family else (kind.value, kind.alert_name)


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
