"""A RunAlert in the format of Alertmanager's v2 API.

Labels are the identity: they distinguish alerts, and people route, group and silence by them. Everything else, and
whatever may differ between firing and resolved, is an annotation.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from streamproc.core.alerts import Alert, AlertState
from streamproc.notify.board import AFTERWARDS_MS, TrackedAlert
from streamproc.notify.links import page_of
from streamproc.notify.naming import alert_name, page_name
from streamproc.notify.rendering import bounded, rfc3339

PATIENCE = 4
"""After this many resend intervals an alert of ours ends by itself, as with Prometheus.

A firing alert always carries an end in the near future. Without it every Alertmanager would apply its own
resolve_timeout; with it, an alert of a service that died, or whose group lost the partition, ends at a known time,
while three lost requests in a row end nothing.
"""
MAX_SUMMARY_CHARS = 1_000


class AlertRenderer(Struct, frozen=True):
    """Renders alerts, by settings common to an installation. A `generator_url` takes precedence over `console_url`."""

    application: str
    labels: Mapping[str, str]
    resend_s: float
    generator_url: str | None
    runbooks_url: str | None
    console_url: str | None = None

    def __call__(self, tracked: TrackedAlert, now_ms: int) -> dict[str, Any]:
        """Return the alert as it is at `now_ms`."""
        starts = min(tracked.began.since, now_ms)
        postable = {
            "labels": self._labels(tracked.began),
            "annotations": self._annotations(tracked),
            "startsAt": rfc3339(starts),
            "endsAt": rfc3339(max(starts, self._ends(tracked, now_ms))),
        }
        url = self._url(tracked.began)
        return postable if url is None else {**postable, "generatorURL": url}

    def _url(self, alert: Alert) -> str | None:
        if self.generator_url is not None or self.console_url is None:
            return self.generator_url
        return page_of(self.console_url, alert.run_id)

    def _labels(self, alert: Alert) -> dict[str, str]:
        values = {
            "alertname": alert_name(alert.kind),
            "severity": alert.severity.value,
            "kind": alert.kind,
            "alert_id": alert.alert_id,
            "run_id": alert.run_id,
            "assistant": alert.assistant_id,
            "model": alert.model,
            "application": self.application,
        }
        return {**self.labels, **_present(values)}

    def _annotations(self, tracked: TrackedAlert) -> dict[str, str]:
        alert = tracked.alert
        source = (alert.source_topic, alert.source_partition, alert.source_offset)
        values = {
            "status": alert.status,
            "thread_id": alert.thread_id,
            "deadline_at": None if alert.deadline_at is None else rfc3339(alert.deadline_at),
            "source": None if None in source else ":".join(map(str, source)),
            "runbook_url": self.runbooks_url and f"{self.runbooks_url.rstrip('/')}/{page_name(alert.kind)}.md",
        }
        return {"summary": alert.summary[:MAX_SUMMARY_CHARS], **_present(values)}

    def _ends(self, tracked: TrackedAlert, now_ms: int) -> float:
        if tracked.until is None:
            return now_ms + PATIENCE * self.resend_s * 1000
        ended = tracked.alert.ends_at or tracked.until - AFTERWARDS_MS
        return min(ended, now_ms) if tracked.alert.state is AlertState.RESOLVED else ended


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    """Leave out empty values: Alertmanager ignores empty labels."""
    return {name: bounded(value) for name, value in values.items() if value}
