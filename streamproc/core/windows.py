"""Event-time windows: sums of measurements, closed by the watermark, revised by late arrivals (rules.md 18 and 19).

Measurements and marks are processed in their order, and a window closes at the mark that permits it: cutting them into
other batches closes the same windows with the same sums.
"""

from collections.abc import Iterable

from streamproc.core import silence
from streamproc.core.alerts import AlertState
from streamproc.core.conditions import Holding, HoldingKey
from streamproc.core.measure import Mark, Measurement, Measurements, Totals, add_up
from streamproc.core.windowstate import (
    NOT_YET,
    Closing,
    Dropped,
    Window,
    WindowKey,
    WindowOutcome,
    WindowState,
)


def begin_windows(state: WindowState) -> WindowOutcome:
    """Return the empty outcome of a new commit on top of `state`. One that is not committed is simply dropped."""
    out = WindowOutcome.on(state)
    out.target = _target(state, out)
    return out


def absorb(state: WindowState, arrivals: Iterable[Measurements], out: WindowOutcome) -> None:
    """Add measurements and marks, in the order of arrival."""
    for arrival in arrivals:
        if arrival.sums:
            _measure(state, out, arrival.sums)
        if arrival.marks:
            _hear(state, out, arrival.marks)


def finish(state: WindowState, out: WindowOutcome, *, watches_silence: bool) -> None:
    """End a commit: close windows that an earlier commit had no room for, number revisions, fire on silence."""
    _advance(state, out)
    for key in list(out.revised):
        _revise(out, key)
    if watches_silence:
        silence.watch(state, out)


def _measure(state: WindowState, out: WindowOutcome, measurements: Iterable[Measurement]) -> None:
    """Add to the windows of each size; a measurement that is late or dropped for one of them counts once.

    The hot loop of the windows: it computes times itself instead of calling the rules, and makes a WindowKey only to
    store it.
    """
    rules, changed = state.rules, out.changed
    for measurement in measurements:
        late, expired_at = False, None
        for size_ms in rules.sizes_ms:
            start = measurement.start - measurement.start % size_ms
            closes_at = start + size_ms + rules.grace_ms
            expires_at = closes_at + rules.retention_ms
            if expires_at <= out.target:
                expired_at = expires_at if expired_at is None else max(expired_at, expires_at)
                continue
            key = measurement.assistant_id, measurement.model, size_ms, start
            window = changed.get(key)  # type: ignore[call-overload]  # equal to the WindowKey
            if not isinstance(window, Window):
                window = _window(state, out, WindowKey(*key))
            window.totals.merge(measurement.totals)
            if closes_at <= out.watermark or window.revision != NOT_YET:
                late = True
                window.late = add_up(window.late, measurement.totals.arrivals)
                out.revised[WindowKey(*key)] = None
        if expired_at is not None:
            reason = Dropped.after(out.target - expired_at)
            out.dropped[reason] = add_up(out.dropped.get(reason, 0), measurement.totals.arrivals)
        elif late:
            out.late = add_up(out.late, measurement.totals.arrivals)


def _window(state: WindowState, out: WindowOutcome, key: WindowKey) -> Window:
    """Return a window for this commit to change: a copy of the committed one, or a new one."""
    committed = state.values.get(key) if key not in out.changed else None
    if isinstance(committed, Window):
        window = committed.copy()
    else:
        window = Window()
        out.remind(state.rules, key, window)
    out.changed[key] = window
    return window


def _hear(state: WindowState, out: WindowOutcome, marks: Iterable[Mark]) -> None:
    """Note the progress of the sources, and close the windows that it permits to close."""
    out.own_sources(state).hear(marks)
    silence.end(state, out, marks)
    out.target = _target(state, out)
    _advance(state, out)


def _target(state: WindowState, out: WindowOutcome) -> int:
    """Return the watermark that the marks permit; it does not move before every source has sent a mark."""
    return max(out.watermark, out.sources(state).watermark)


def _advance(state: WindowState, out: WindowOutcome) -> None:
    """Move the watermark to its target, and close and drop what it passes, in the order of time.

    If a commit has no room for all of them, the watermark stays before the rest until the next commit.
    """
    while (now := min(out.closing.next_at, out.holding.next_at)) <= out.target:
        if out.room <= 0:
            out.watermark = max(out.watermark, now - 1)
            return
        # Windows first: those that close at the same moment decide whether a condition still holds.
        if out.closing.next_at == now:
            for key in out.closing.take(out.room):
                out.room -= 1
                _look_at(state, out, key, now)
        else:
            for condition in out.holding.take():
                _look_again(state, out, condition, now)
    out.watermark = out.target


def _look_at(state: WindowState, out: WindowOutcome, key: WindowKey, now: int) -> None:
    window = out.get(state, key)
    if not isinstance(window, Window):
        return
    if window.revision == NOT_YET and key not in out.revised:
        new = window if key in out.changed else window.copy()
        new.revision = 0
        out.changed[key] = new
        out.closings.append(Closing(key, 0, new.totals.copy(), new.late))
        out.remind(state.rules, key, new)
        _judge(state, out, key, new.totals, now)
    elif state.rules.expires_at(key) <= now:
        _revise(out, key)
        out.changed[key] = None
    else:
        out.closing.add(key, state.rules.expires_at(key))


def _revise(out: WindowOutcome, key: WindowKey) -> None:
    """Send a revision of the window if anything came late in this commit.

    A window that began late is not judged: the content of its first revision depends on where commits are cut.
    """
    window = out.changed.get(key)
    if key in out.revised and isinstance(window, Window):
        del out.revised[key]
        window.revision += 1
        out.closings.append(Closing(key, window.revision, window.totals.copy(), window.late))


def _judge(state: WindowState, out: WindowOutcome, key: WindowKey, totals: Totals, now: int) -> None:
    """Judge a window that closes in time by the conditions on windows of its size."""
    for condition in state.rules.conditions:
        if key.size_ms != condition.window_ms:
            continue
        judgement = condition.judge(key[:2], key.start, totals)
        if judgement is None:
            kind, unjudged = condition.kind, out.unjudged
            unjudged[kind] = unjudged.get(kind, 0) + 1
            continue
        for severity, summary in judgement:
            _hold(state, out, HoldingKey(condition.kind, key.group, severity), key, now, summary)


def _hold(state: WindowState, out: WindowOutcome, key: HoldingKey, of: WindowKey, now: int, summary: str) -> None:
    """Note that a condition holds for a window, and fire if it did not hold before."""
    committed = out.get(state, key)
    before = committed if isinstance(committed, Holding) else None
    since = of.start if before is None else before.since
    holding = Holding(of.assistant_id, of.model, key.severity, since, of.start + of.size_ms)
    out.changed[key] = holding
    out.remind(state.rules, key, holding)
    if before is None:
        out.alerts.append(holding.alert(key.kind, AlertState.FIRING, now, summary))


def _look_again(state: WindowState, out: WindowOutcome, key: HoldingKey, now: int) -> None:
    """Resolve a condition that does not hold for the window closing now, or whose group has no such window."""
    holding, rules = out.get(state, key), state.rules
    if isinstance(holding, Holding) and rules.judged_again_at(key.kind, holding) <= now:
        out.changed[key] = None
        condition = rules.condition(key.kind)
        summary = "nobody asks for it any more" if condition is None else condition.relief
        out.alerts.append(holding.alert(key.kind, AlertState.RESOLVED, now, summary))
