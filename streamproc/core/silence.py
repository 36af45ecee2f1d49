"""The alert that the stream is silent: over all sources, so it is the task of measurement partition 0 that tells it."""

from streamproc.core.alerts import STREAM_SILENT, Alert, AlertState, Severity
from streamproc.core.windowstate import SILENCE_KEY, Silence, WindowOutcome, WindowRules, WindowState


def watch(state: WindowState, out: WindowOutcome) -> None:
    """Fire where every source is caught up, and the last event was seen too long before."""
    rules, sources = state.rules, out.sources(state)
    if not rules.silence_ms or len(sources) < rules.sources or out.get(state, SILENCE_KEY) is not None:
        return
    seen_at = max(source.seen_at for source in sources)
    read_until = min(source.read_until for source in sources)
    if read_until - seen_at >= rules.silence_ms:
        silence = Silence(seen_at)
        out.changed[SILENCE_KEY] = silence
        summary = f"no event has come on {rules.stream} for {rules.silence_ms // 1000} s"
        out.alerts.append(_alert(silence, rules, AlertState.FIRING, read_until, summary))


def end(state: WindowState, out: WindowOutcome, seen_at: int) -> None:
    """Resolve where an event was seen since."""
    silence = out.get(state, SILENCE_KEY)
    if isinstance(silence, Silence) and seen_at > silence.since:
        out.changed[SILENCE_KEY] = None
        summary = f"events come on {state.rules.stream} again"
        out.alerts.append(_alert(silence, state.rules, AlertState.RESOLVED, seen_at, summary))


def _alert(silence: Silence, rules: WindowRules, state: AlertState, now: int, summary: str) -> Alert:
    return Alert(
        alert_id=f"{STREAM_SILENT}:{rules.stream}:{silence.since}",
        kind=STREAM_SILENT,
        severity=Severity.CRITICAL,
        state=state,
        since=silence.since,
        decided_at=now,
        summary=summary,
        deadline_at=silence.since + rules.silence_ms,
        ends_at=now if state is AlertState.RESOLVED else None,
    )
