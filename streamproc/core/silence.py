"""The alert that the stream is silent. It is about all sources: the task of measurement partition 0 fires it."""

from collections.abc import Iterable

from streamproc.core.alerts import Alert, AlertKind, AlertState
from streamproc.core.measure import Mark
from streamproc.core.windowstate import SILENCE_KEY, Silence, WindowOutcome, WindowRules, WindowState


def watch(state: WindowState, out: WindowOutcome) -> None:
    """Fire if every source is caught up, and the last event was seen too long before."""
    rules, sources = state.rules, out.sources(state)
    if not rules.silence_ms or not sources.all_heard or out.get(state, SILENCE_KEY) is not None:
        return
    seen_at, read_until = max(sources.seen_at), min(sources.read_until)
    if read_until - seen_at >= rules.silence_ms:
        silence = Silence(seen_at)
        out.changed[SILENCE_KEY] = silence
        summary = f"no event has come on {rules.stream} for {rules.silence_ms // 1000} s"
        out.alerts.append(_alert(silence, rules, AlertState.FIRING, read_until, summary))


def end(state: WindowState, out: WindowOutcome, marks: Iterable[Mark]) -> None:
    """Resolve if an event was seen since; the first of these marks that shows one gives the time."""
    silence = out.get(state, SILENCE_KEY)
    if not isinstance(silence, Silence):
        return
    sources, since = state.rules.sources, silence.since
    seen_at = next((mark.seen_at for mark in marks if mark.seen_at > since and mark.source_partition < sources), None)
    if seen_at is not None:
        out.changed[SILENCE_KEY] = None
        summary = f"events come on {state.rules.stream} again"
        out.alerts.append(_alert(silence, state.rules, AlertState.RESOLVED, seen_at, summary))


def _alert(silence: Silence, rules: WindowRules, state: AlertState, now: int, summary: str) -> Alert:
    return Alert(
        alert_id=f"{AlertKind.STREAM_SILENT}:{rules.stream}:{silence.since}",
        kind=AlertKind.STREAM_SILENT,
        severity=AlertKind.STREAM_SILENT.severity,
        state=state,
        since=silence.since,
        decided_at=now,
        summary=summary,
        deadline_at=silence.since + rules.silence_ms,
        ends_at=now if state is AlertState.RESOLVED else None,
    )
