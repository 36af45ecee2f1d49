"""The names under which people meet alerts, by the `kind` of a record: also of one that this release does not know.

They are those of the Prometheus rules about the same thing (deploy/prometheus/rules): a route, a silence or a runbook
then serves both ways.
"""

import re

from streamproc.core.alerts import AlertKind
from streamproc.core.profiles import ASSISTANTS

PREFIX = "Streamproc"


def alert_name(kind: str) -> str:
    """Return the CamelCase name of a kind: `stuck_requires_action` is StreamprocRunsStuckInRequiresAction."""
    known = AlertKind.named(kind)
    if known is AlertKind.STUCK:
        return f"{known.alert_name}In{_camel(kind.removeprefix(known).removeprefix('in_'))}"
    return PREFIX + _camel(kind) if known is None else known.alert_name


def page_name(kind: str) -> str:
    """Return the name of the runbook's page: the alert's own, or that for all statuses without a rule of their own."""
    has_own = not kind.startswith(AlertKind.STUCK) or kind.removeprefix(AlertKind.STUCK) in ASSISTANTS.limits_s
    return alert_name(kind) if has_own else AlertKind.STUCK.alert_name


def _camel(text: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", text))
