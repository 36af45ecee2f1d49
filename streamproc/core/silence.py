"""The alert that the stream is silent: over all sources, so it is the task of measurement partition 0 that tells it."""

from streamproc.core.alerts import STREAM_SILENT, Alert, AlertState, Severity
from streamproc.core.windowstate import SILENCE_KEY, Silence, WindowOutcome, WindowRules, WindowState


def watch(state: WindowState, out: WindowOutcome, seen_at: int, wall_ms: int) -> None:
    """Fire where the last event was seen too long ago, by the clock."""
    rules = state.rules
    if rules.silence_ms and wall_ms - seen_at >= rules.silence_ms and out.get(state, SILENCE_KEY) is None:
        silence = Silence(seen_at)
        out.changed[SILENCE_KEY] = silence
        summary = f"no event has come on {rules.stream} for {rules.silence_ms // 1000} s"
        out.alerts.append(_alert(silence, rules, AlertState.FIRING, wall_ms, summary))


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
