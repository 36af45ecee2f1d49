"""The panels of the picture: tables that show as many rows and columns as they have room for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from streamproc.core.alerts import Alert, AlertState, Severity
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Verdict
from streamproc.demo.board import Board
from streamproc.demo.figures import WaitingRun
from streamproc.demo.topics import ShownTransition
from streamproc.times import span

Row = tuple[str, str, str]
"""A name, its value, and the style of both."""

PAIR_ROWS = 9
REASON_ROWS = 4
MODEL_CHARS, STATUS_CHARS, MOVE_CHARS = 24, 15, 31
LEAST = 0.07
"""Least length of a bar as a part of the longest one, so that any count can be seen."""
DIM = "bright_black"
COLOURS = {
    "queued": "bright_black",
    "in_progress": "cyan",
    "requires_action": "yellow",
    "cancelling": "magenta",
    "completed": "green",
    "incomplete": "dark_orange",
    "failed": "red",
    "cancelled": "magenta",
    "expired": "bright_red",
}


def events(board: Board) -> Iterable[Row]:
    """Yield the counts of events by what became of them: the last five add up to the first."""
    figures, rejected = board.figures, board.figures.rejected.total()
    yield "events in", f"{figures.events:,}", "bold"
    yield "per second", f"{board.events_per_s:,.0f}", "bold"
    yield "lag", f"{board.behind:,}", ""
    yield "latency", milliseconds(figures.latency_s), ""
    for verdict in Verdict:
        count = figures.verdicts[verdict]
        yield verdict.value, f"{count:,}", "yellow" if verdict is Verdict.ILLEGAL and count else ""
    yield "rejected", f"{rejected:,}", _alarming(rejected)


def health(board: Board) -> Iterable[Row]:
    """Yield figures that may need attention, then those of cost."""
    runs, tokens = board.open_runs, board.figures.tokens
    firing = board.figures.firing.total()
    yield "open runs", f"{runs.total:,}", ""
    yield "past a limit", f"{runs.late:,}", _alarming(runs.late)
    yield "alerts firing", f"{firing:,}", _alarming(firing)
    yield "failed, 1 min", share(board.failure_rate), ""
    yield "tokens/s", f"{board.tokens_per_s:,.0f}", "bold"
    yield "prompt", f"{tokens['prompt']:,}", ""
    yield "completion", f"{tokens['completion']:,}", ""
    yield "commits", f"{board.figures.commits:,}", ""
    yield "tasks", "stopped" if board.is_stopped else f"{board.figures.tasks}", ""


def service(board: Board) -> Iterable[Row]:
    """Yield further figures, for where there is room."""
    figures = board.figures
    yield "sent", f"{board.sent.total():,}", ""
    yield "transitions", f"{figures.transitions:,}", ""
    yield "alerts", f"{figures.alerts:,}", ""
    yield "windows", f"{figures.revisions:,}", ""
    yield "commit time", milliseconds(figures.commit_s), ""
    if not figures.rejected:
        yield "nothing rejected", "", DIM
    for reason, count in top(figures.rejected, REASON_ROWS):
        yield reason, f"{count:,}", "red"


def pulse(board: Board) -> Sequence[Text]:
    """Return the figures of `health` that matter most, for one line."""
    rows = [(name, value, style) for name, value, style in health(board) if name in PULSE]
    return [Text.assemble(f"{PULSE[name]} ", (value, style or "bold")) for name, value, style in rows]


PULSE = {"past a limit": "late", "alerts firing": "alerts", "failed, 1 min": "failed", "tokens/s": "tokens/s"}


def pairs(rows: Iterable[Row]) -> Table:
    """Return names and values in two columns."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for name, value, style in rows:
        table.add_row(name, value, style=style)
    return table


def statuses(board: Board, profile: Profile) -> Table:
    """Return how many runs are in each status, with bars where there is room."""
    runs = board.figures.runs_by_status
    most = max(runs.values(), default=1)
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", min_width=6, no_wrap=True)
    table.add_column(ratio=1)
    for status in profile.statuses:
        name = _status(status) if runs[status] else Text(status, DIM)
        table.add_row(name, f"{runs[status]:,}", bar(runs[status], most, COLOURS.get(status, "white")))
    return table


def bar(count: int, most: int, colour: str) -> Bar:
    """Return a bar in proportion, but with a least length for any count above 0."""
    return Bar(most, 0, max(count, most * LEAST) if count else 0, color=colour)


def open_runs(board: Board, *, narrow: bool) -> RenderableType:
    """Return the open runs, those with the least time left first; ids are cut where there is no room."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, min_width=STATUS_CHARS)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, justify="right")
    for run in board.open_runs.nearest:
        limit = "" if narrow or run.limit_ms is None or _expires_first(run) else f" of {_time(run.limit_ms)}"
        table.add_row(Text(run.run_id), _status(run.status), f"{_time(run.for_ms)}{limit}", _left(run))
    return table if board.open_runs.nearest else Text("none", DIM)


def _left(run: WaitingRun) -> Text:
    if run.left_ms is None:
        return Text("")
    over, time = run.left_ms <= 0, _time(abs(run.left_ms))
    if _expires_first(run):
        text = f"expired {time} ago" if over else f"{time} to expiry"
    else:
        text = f"{time} over" if over else f"{time} left"
    return Text(f"! {text}", "bold red") if run.is_told else Text(text, "yellow" if over else "")


def _expires_first(run: WaitingRun) -> bool:
    """Tell whether the run's expiry leaves it less time than the limit of its status."""
    return run.left_ms is not None and (run.limit_ms is None or run.left_ms < run.limit_ms - run.for_ms)


def alerts(board: Board, *, narrow: bool) -> RenderableType:
    """Return the last alerts, the newest first."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for alert in board.alerts:
        fires = alert.state is AlertState.FIRING
        style = ("bold red" if alert.severity is Severity.CRITICAL else "yellow") if fires else "green"
        at = datetime.fromtimestamp(alert.decided_at / 1000, UTC)
        state = Text(f"{alert.severity if fires else alert.state:<8}", style)
        table.add_row(_first(at, state, narrow=narrow), _about(alert))
    return table if board.alerts else Text("none so far", DIM)


def _about(alert: Alert) -> str:
    """Return the figures before the subject, which may be cut."""
    if alert.run_id:
        return f"{alert.kind} {alert.run_id}"
    fires, of = alert.state is AlertState.FIRING, alert.model or alert.assistant_id
    headline = alert.summary.partition(" (")[0] if fires or not of else alert.kind
    return f"{headline}: {of}" if of else headline


def changes(board: Board, *, narrow: bool, with_model: bool) -> RenderableType:
    """Return the last transitions, the newest first."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, min_width=MOVE_CHARS)
    if with_model:
        table.add_column(no_wrap=True, max_width=MODEL_CHARS)
    table.add_column(justify="right", no_wrap=True)
    for change in board.changes:
        model = [Text(change.model or "", DIM)] if with_model else []
        took = "" if change.in_from_ms is None else f"after {change.in_from_ms / 1000:,.1f} s"
        table.add_row(_first(change.at, Text(change.run_id), narrow=narrow), _move(change), *model, took)
    return table if board.changes else Text("none so far", DIM)


def _first(at: datetime, text: Text, *, narrow: bool) -> Text:
    """Put the time of day before a text, where there is room."""
    return text if narrow else Text.assemble((f"{at.astimezone():%H:%M:%S} ", DIM), text)


def _move(change: ShownTransition) -> Text:
    start = Text("new", DIM) if change.from_status is None else _status(change.from_status)
    return Text.assemble(start, " → ", _status(change.to_status), ("" if change.expected else " !", "yellow"))


def _status(status: str) -> Text:
    return Text(status, COLOURS.get(status, "white"))


def _time(milliseconds: int) -> str:
    """Write a time in its largest unit."""
    return " ".join(span(milliseconds).split()[:2])


def _alarming(count: int) -> str:
    return "bold red" if count else DIM


def top(counts: Counter[str], rows: int) -> Sequence[tuple[str, int]]:
    """Return the most frequent names in at most `rows` rows; the last row sums up all others."""
    ordered = counts.most_common()
    if len(ordered) <= rows:
        return ordered
    return [*ordered[: rows - 1], ("others", sum(count for _, count in ordered[rows - 1 :]))]


def share(part: float | None) -> str:
    """Return a part of one in percent, a dash where there is none yet."""
    return "-" if part is None else f"{part:.1%}"


def milliseconds(seconds: float | None) -> str:
    """Return a time in milliseconds, a dash where there is none yet."""
    return "-" if seconds is None else f"{seconds * 1000:,.0f} ms"
