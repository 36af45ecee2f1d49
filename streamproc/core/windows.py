"""Event-time windows: sums of measurements, closed by the watermark, revised by what comes late (rules.md 18 and 19).

Measurements and marks are taken in their order, and a window closes at the mark that lets it: cutting them into other
batches closes the same windows with the same sums.
"""

from collections.abc import Iterable

from streamproc.core import silence
from streamproc.core.alerts import AlertState
from streamproc.core.failures import Failing
from streamproc.core.measure import Mark, Measurement, Totals
from streamproc.core.model import Moment
from streamproc.core.windowstate import (
    NOT_YET,
    Closing,
    FailingKey,
    SourceMark,
    Window,
    WindowKey,
    WindowOutcome,
    WindowState,
)


def begin_windows(state: WindowState) -> WindowOutcome:
    """Return the empty outcome of a new commit on top of `state`; what an aborted one had taken is put back."""
    state.calendar.rewind()
    return WindowOutcome(state.watermark)


def absorb(state: WindowState, arrivals: Iterable[Measurement | Mark], out: WindowOutcome) -> None:
    """Add measurements and marks, in the order of arrival."""
    for arrival in arrivals:
        if isinstance(arrival, Mark):
            _mark(state, out, arrival)
        else:
            for size_ms in state.rules.sizes_ms:
                start = arrival.start - arrival.start % size_ms
                key = WindowKey(arrival.assistant_id, arrival.model, size_ms, start)
                _measure(state, out, key, arrival.totals)


def pass_window_time(state: WindowState, at: Moment, out: WindowOutcome, *, watches_silence: bool) -> None:
    """Let the clock do its part, where nothing is unread and every source is idle; then number the revisions."""
    sources = out.sources(state)
    all_idle = len(sources) >= state.rules.sources and all(source.idle for source in sources)
    if at.caught_up and all_idle:
        _advance(state, out, at.wall_ms)
        if watches_silence:
            silence.watch(state, out, max(source.seen_at for source in sources), at.wall_ms)
    for key in out.revised:
        window = out.get(state, key)
        if isinstance(window, Window):
            window.revision += 1
            out.closings.append(Closing(key, window.revision, window.totals, window.late))
    out.revised.clear()


def _measure(state: WindowState, out: WindowOutcome, key: WindowKey, totals: Totals) -> None:
    rules = state.rules
    if rules.expires_at(key) <= out.watermark:
        out.dropped += totals.arrivals
        return
    window = out.changed.get(key)
    if not isinstance(window, Window):
        committed = state.values.get(key) if key not in out.changed else None
        window = committed.copy() if isinstance(committed, Window) else Window()
        out.changed[key] = window
        if not isinstance(committed, Window):
            state.remind(key, window)
    window.totals.merge(totals)
    if rules.closes_at(key) <= out.watermark:
        window.late += totals.arrivals
        out.late += totals.arrivals
        out.revised[key] = None


def _mark(state: WindowState, out: WindowOutcome, mark: Mark) -> None:
    before = out.get(state, mark.source_partition)
    known = before if isinstance(before, SourceMark) else SourceMark(0, idle=False, seen_at=mark.sent_at)
    seen_at = max(known.seen_at, mark.seen_at)
    watermark = max(known.watermark, mark.watermark)
    out.changed[mark.source_partition] = SourceMark(watermark, mark.idle, seen_at)
    silence.end(state, out, mark.seen_at)
    sources = out.sources(state)
    busy = [source.watermark for source in sources if not source.idle]
    if busy and len(sources) >= state.rules.sources:
        _advance(state, out, min(busy))


def _advance(state: WindowState, out: WindowOutcome, watermark: int) -> None:
    """Move the watermark on, and close and drop what it passes, in the order of time."""
    out.watermark = max(out.watermark, watermark)
    calendar = state.calendar
    while calendar.next_at <= out.watermark:
        now = calendar.next_at
        keys = calendar.take()
        windows = [key for key in keys if isinstance(key, WindowKey)]
        for key in windows:
            _look_at(state, out, key, now)
        # Behind the windows that close at the same moment: these tell whether the group still fails.
        for failing in keys:
            if not isinstance(failing, WindowKey):
                _look_again(state, out, failing, now)


def _look_at(state: WindowState, out: WindowOutcome, key: WindowKey, now: int) -> None:
    window = out.get(state, key)
    if not isinstance(window, Window):
        return
    if state.rules.expires_at(key) <= now:
        out.changed[key] = None
        out.revised.pop(key, None)
    elif window.revision == NOT_YET and key not in out.revised:
        new = window if key in out.changed else window.copy()
        new.revision = 0
        out.changed[key] = new
        out.closings.append(Closing(key, 0, new.totals.copy(), new.late))
        state.remind(key, new)
        _judge_failures(state, out, key, new.totals, now)
    else:
        # It closed already, or came about late: what is collected in this commit is its next revision.
        state.calendar.add(key, state.rules.expires_at(key))


def _judge_failures(state: WindowState, out: WindowOutcome, key: WindowKey, totals: Totals, now: int) -> None:
    rules = state.rules.failures
    if key.size_ms != rules.window_ms:
        return
    end = key.start + key.size_ms
    for severity, summary in rules.holding(totals):
        identity = key.group, severity
        before = out.get(state, identity)
        since = before.since if isinstance(before, Failing) else key.start
        failing = Failing(key.assistant_id, key.model, severity, since, end)
        out.changed[identity] = failing
        state.remind(identity, failing)
        if not isinstance(before, Failing):
            out.alerts.append(failing.alert(AlertState.FIRING, now, summary))


def _look_again(state: WindowState, out: WindowOutcome, key: FailingKey, now: int) -> None:
    """Resolve a failing group for which the window that closes now did not hold, or did not come about."""
    failing = out.get(state, key)
    if isinstance(failing, Failing) and state.rules.fails_until(failing) <= now:
        out.changed[key] = None
        summary = "the failure rate is below the limit, or too few runs ended to tell"
        out.alerts.append(failing.alert(AlertState.RESOLVED, now, summary))
