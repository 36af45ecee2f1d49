"""Geometry of the small pictures: lines without axes, and a run's time line, to scale."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from streamproc.console.answers.runs import Run, Step
from streamproc.console.pages.badges import look
from streamproc.console.pages.written import limit as whole
from streamproc.console.pages.written import span

MAX_TICKS: Final = 6
SMALLEST: Final = 0.25
"""Least width of a status in percent, so that even a very short one can be seen."""
UNITS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)


def line(values: Sequence[float | None], width: int, height: int) -> str:
    """Return the `d` of a path through the values, 0 at the bottom; None breaks it."""
    most = max((value for value in values if value is not None), default=0) or 1
    step = width / max(1, len(values) - 1)
    drawn, pen = [], "M"
    for n, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        drawn.append(f"{pen}{n * step:.1f} {height - 1 - value / most * (height - 2):.1f}")
        pen = "L"
    return "".join(drawn)


class Stretch(NamedTuple):
    """A status in the time line; `x` and `width` in percent, `lasted`: its duration as text."""

    status: str
    tone: str
    shape: str
    x: float
    width: float
    lasted: str
    is_now: bool


class TimelineMark(NamedTuple):
    """A moment in the time line. `kind`: alert, refused, limit, now."""

    kind: str
    x: float
    text: str


class TimeLine(NamedTuple):
    """A time line; `ticks`: position in percent, and time since the first event as text."""

    stretches: list[Stretch]
    marks: list[TimelineMark]
    ticks: list[tuple[float, str]]


def time_line(run: Run | None, steps: Sequence[Step], now_ms: int) -> TimeLine | None:
    """Return a run's statuses over time, None where none is known."""
    applied = [step for step in steps if step.verdict == "applied"]
    if not applied:
        return None
    start, end = applied[0].at, max(step.at for step in steps)
    is_open = run is not None and run.is_open
    if is_open:
        end = max(end, now_ms)
    limit = run.ends_first_at if run is not None and is_open else None
    last = max(end, limit) if limit is not None and limit - end <= end - start else end
    length = max(1, last - start)
    marks = [_mark(step, (step.at - start) / length * 100) for step in steps if step.verdict != "applied"]
    if limit is not None and start <= limit <= last:
        marks.append(TimelineMark("limit", (limit - start) / length * 100, "the limit of its status"))
    ends = [step.at for step in applied[1:]] + [end]
    stretches = [
        _stretch(
            step, (step.at - start) / length * 100, until - step.at, length, is_now=is_open and step is applied[-1]
        )
        for step, until in zip(applied, ends, strict=True)
    ]
    return TimeLine(stretches, marks, _ticks(length))


def _stretch(step: Step, x: float, lasted_ms: int, length_ms: int, *, is_now: bool) -> Stretch:
    status = step.to_status or ""
    style = look(status, step.outcome)
    width = max(SMALLEST, lasted_ms / length_ms * 100)
    ended = step.outcome is not None
    return Stretch(
        status, style.tone, style.shape, min(x, 100 - width), width, "" if ended else span(lasted_ms), is_now
    )


def _mark(step: Step, x: float) -> TimelineMark:
    x = min(100.0, max(0.0, x))
    if step.what == "alert":
        return TimelineMark("alert", x, f"{step.kind} {step.state}")
    return TimelineMark("refused", x, f"{step.verdict}: it said {step.to_status}")


def _ticks(length_ms: int) -> list[tuple[float, str]]:
    fitting = (unit for unit in UNITS_S if length_ms / 1_000 / unit <= MAX_TICKS)
    unit_ms = next(fitting, -(-length_ms // 1_000 // MAX_TICKS // UNITS_S[-1]) * UNITS_S[-1]) * 1_000
    return [(at / length_ms * 100, f"+{whole(at)}" if at else "0") for at in range(0, length_ms + 1, unit_ms)]
