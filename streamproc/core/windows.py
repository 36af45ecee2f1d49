"""Event-time windows: sums of measurements, closed by the watermark, revised by what comes late (rules.md 18 and 19).

Measurements and marks are taken in their order, and a window closes at the mark that lets it: cutting them into other
batches closes the same windows with the same sums.
"""

from collections.abc import Iterable

from streamproc.core import silence
from streamproc.core.alerts import AlertState
from streamproc.core.failures import Failing
from streamproc.core.measure import Mark, Measurement, Totals
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

MAX_LOOKED_AT = 1_000
"""Windows that one mark, or one look at the clock, closes or drops."""


def begin_windows(state: WindowState) -> WindowOutcome:
    """Return the empty outcome of a new commit on top of `state`; what an aborted one had taken is put back."""
    state.rewind()
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


def finish(state: WindowState, out: WindowOutcome, *, watches_silence: bool) -> None:
    """End a commit: number the revisions, and tell of silence."""
    for key in out.revised:
        window = out.get(state, key)
        if isinstance(window, Window):
            _revise(out, key, window)
    out.revised.clear()
    if watches_silence:
        silence.watch(state, out)


def _revise(out: WindowOutcome, key: WindowKey, window: Window) -> None:
    window.revision += 1
    out.closings.append(Closing(key, window.revision, window.totals, window.late))


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
    if window.revision != NOT_YET or rules.closes_at(key) <= out.watermark:
        window.late += totals.arrivals
        out.late += totals.arrivals
        out.revised[key] = None


def _mark(state: WindowState, out: WindowOutcome, mark: Mark) -> None:
    before = out.get(state, mark.source_partition)
    known = before if isinstance(before, SourceMark) else SourceMark(0, read_until=0, seen_at=mark.sent_at)
    # A source that is caught up has read all there was when it said so: its time is the clock's as of then.
    watermark = max(known.watermark, mark.watermark, mark.sent_at if mark.idle else 0)
    seen_at = max(known.seen_at, mark.seen_at)
    read_until = mark.sent_at if mark.idle else 0
    out.changed[mark.source_partition] = SourceMark(watermark, read_until, seen_at)
    silence.end(state, out, mark.seen_at)
    sources = out.sources(state)
    if len(sources) >= state.rules.sources:
        _advance(state, out, min(source.watermark for source in sources))


def _advance(state: WindowState, out: WindowOutcome, watermark: int) -> None:
    """Move the watermark on, and close and drop what it passes, in the order of time.

    Where more than MAX_LOOKED_AT windows are passed at once, it stays in front of the rest: a commit has to stay small.
    """
    room = MAX_LOOKED_AT
    while (now := min(state.closing.next_at, state.failing.next_at)) <= watermark:
        if room <= 0:
            watermark = now - 1
            break
        # Windows first: those that close at the same moment tell whether a group still fails.
        if state.closing.next_at == now:
            for key in state.closing.take(room):
                room -= 1
                _look_at(state, out, key, now)
        else:
            for group in state.failing.take():
                _look_again(state, out, group, now)
    out.watermark = max(out.watermark, watermark)


def _look_at(state: WindowState, out: WindowOutcome, key: WindowKey, now: int) -> None:
    window = out.get(state, key)
    if not isinstance(window, Window):
        return
    if state.rules.expires_at(key) <= now:
        if key in out.revised:
            _revise(out, key, window)
            del out.revised[key]
        out.changed[key] = None
    elif window.revision == NOT_YET and key not in out.revised:
        new = window if key in out.changed else window.copy()
        new.revision = 0
        out.changed[key] = new
        out.closings.append(Closing(key, 0, new.totals.copy(), new.late))
        state.remind(key, new)
        _judge_failures(state, out, key, new.totals, now)
    else:
        # It closed already, or came about late: what is collected in this commit is its next revision.
        state.closing.add(key, state.rules.expires_at(key))


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
