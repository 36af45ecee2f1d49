"""The board as a picture of 80 columns and 24 lines. Decides nothing, keeps nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streamproc.core.lifecycle import Profile
from streamproc.core.model import Verdict
from streamproc.demo.board import Board
from streamproc.demo.topics import Change

WIDTH, HEIGHT = 80, 24
PANEL_ROWS = 9
CHANGE_ROWS = 8
REASON_ROWS = 4
BAR = 4
RUN_ID_CHARS = 22
MOVE_CHARS = 31
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


def render(board: Board, profile: Profile) -> RenderableType:
    """Return the picture."""
    top = Table.grid(expand=False)
    top.add_row(
        _panel("Stream", _pairs(_stream(board)), 24),
        _panel("Runs by status", _statuses(board, profile), 31),
        _panel("Verdicts", _pairs(_verdicts(board)), 25),
    )
    return Group(_header(board), top, _changes(board), _footer(board))


def _header(board: Board) -> Text:
    title = Text(" streamproc demo ", "bold reverse")
    link = _link(board.prometheus_url or board.metrics_url)
    parts = (title, f"  {duration(board.elapsed_s)}  ", link, f"  Kafka {board.kafka}")
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _link(url: str) -> tuple[str, str]:
    return (url, f"link {url} underline") if url else ("", "")


def _stream(board: Board) -> Iterable[tuple[str, str, str]]:
    figures = board.figures
    yield "sent", f"{board.sent.total():,}", ""
    yield "events in", f"{figures.events:,}", "bold"
    yield "events/s", f"{board.events_per_s:,.0f}", "bold"
    yield "lag", f"{board.behind:,}", ""
    yield "transitions", f"{figures.transitions:,}", ""
    yield "commits", f"{figures.commits:,}", ""
    yield "commit time", milliseconds(figures.commit_s), ""
    yield "latency", milliseconds(figures.latency_s), ""
    yield "tasks", "stopped" if board.is_stopped else f"{figures.tasks}", ""


def _statuses(board: Board, profile: Profile) -> Table:
    runs = board.figures.runs_by_status
    most = max(runs.values(), default=0)
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", min_width=6, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="crop")
    for status in profile.statuses:
        colour = COLOURS.get(status, "white")
        table.add_row(Text(status, colour), f"{runs[status]:,}", Text("█" * bar(runs[status], most), colour))
    return table


def _verdicts(board: Board) -> Iterable[tuple[str, str, str]]:
    figures = board.figures
    for verdict in Verdict:
        yield verdict.value, f"{figures.verdicts[verdict]:,}", ""
    yield "rejected", f"{figures.rejected.total():,}", "red"
    for reason, count in top(figures.rejected, REASON_ROWS):
        yield reason, f"{count:,}", "bright_black"


def top(counts: Counter[str], rows: int) -> Sequence[tuple[str, int]]:
    """Return the most frequent, in as many rows as there are; the last one is for all the others."""
    ordered = counts.most_common()
    if len(ordered) <= rows:
        return ordered
    return [*ordered[: rows - 1], ("others", sum(count for _, count in ordered[rows - 1 :]))]


def bar(count: int, most: int) -> int:
    """Return a bar's length: in proportion, but never 0 for what is there."""
    return max(1, round(BAR * count / most)) if count else 0


def _changes(board: Board) -> Panel:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column()
    table.add_column()
    table.add_column(min_width=MOVE_CHARS)
    table.add_column(justify="right")
    for change in board.changes[:CHANGE_ROWS]:
        table.add_row(*_change(change))
    return _panel("Last transitions, read from their topic (!: not as documented)", table, WIDTH, CHANGE_ROWS)


def _change(change: Change) -> Sequence[RenderableType]:
    start = Text("new", "bright_black") if change.from_status is None else _status(change.from_status)
    return (
        Text(f"{change.at.astimezone():%H:%M:%S}", "bright_black"),
        Text(change.run_id[:RUN_ID_CHARS], no_wrap=True),
        Text.assemble(start, " → ", _status(change.to_status), "" if change.expected else " !", no_wrap=True),
        "" if change.in_from_ms is None else f"after {change.in_from_ms / 1000:,.1f} s",
    )


def _status(status: str) -> Text:
    return Text(status, COLOURS.get(status, "white"))


def _footer(board: Board) -> Text:
    latest = board.log[-1] if board.log else ""
    parts = (Text(f" {board.phase}\n", "bright_black"), Text(latest, "yellow"))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _pairs(rows: Iterable[tuple[str, str, str]]) -> Table:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for name, value, style in rows:
        table.add_row(name, value, style=style)
    return table


def _panel(title: str, content: RenderableType, width: int, rows: int = PANEL_ROWS) -> Panel:
    return Panel(content, title=title, title_align="left", width=width, height=rows + 2, border_style="bright_black")


def line(board: Board) -> str:
    """Return the board in one line, for where there is no terminal."""
    figures = board.figures
    parts: Mapping[str, str] = {
        "sent": f"{board.sent.total():,}",
        "events in": f"{figures.events:,} ({board.events_per_s:,.0f}/s)",
        "lag": f"{board.behind:,}",
        "runs": f"{figures.runs_by_status.total():,}",
        "transitions": f"{figures.transitions:,}",
        "rejected": f"{figures.rejected.total():,}",
        "commits": f"{figures.commits:,}",
    }
    return "  ".join((duration(board.elapsed_s), *(f"{name} {value}" for name, value in parts.items())))


def duration(seconds: float) -> str:
    """Return minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def milliseconds(seconds: float | None) -> str:
    """Return a time in milliseconds, a dash where there is none yet."""
    return "-" if seconds is None else f"{seconds * 1000:,.0f} ms"
