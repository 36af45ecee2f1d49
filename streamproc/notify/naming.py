"""The names under which people meet alerts: the one place where a kind becomes an alert name.

They are those of the Prometheus rules about the same thing (deploy/prometheus/rules): a route, a silence or a runbook
then serves both ways.
"""

import re

from streamproc.core.alerts import FAILURE_RATE, ILLEGAL, OVERDUE, STREAM_SILENT, STUCK
from streamproc.core.profiles import ASSISTANTS

PREFIX = "Streamproc"
_NAMES = {
    OVERDUE: "RunsOverdue",
    ILLEGAL: "IllegalTransitions",
    FAILURE_RATE: "AssistantFailureRateHigh",
    STREAM_SILENT: "StreamSilent",
}


def alert_name(kind: str) -> str:
    """Return the CamelCase name of a kind: `stuck_requires_action` is StreamprocRunsStuckInRequiresAction."""
    if kind.startswith(STUCK):
        return f"{PREFIX}RunsStuckIn{_camel(kind.removeprefix(STUCK).removeprefix('in_'))}"
    return PREFIX + (_NAMES.get(kind) or _camel(kind))


def page_name(kind: str) -> str:
    """Return the name of the runbook's page: the alert's own, or that for all statuses without a rule of their own."""
    has_own = not kind.startswith(STUCK) or kind.removeprefix(STUCK) in ASSISTANTS.limits_s
    return alert_name(kind) if has_own else f"{PREFIX}RunsStuck"


def _camel(text: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", text))
