"""The board as a picture that fills its terminal, from 60 columns and 20 lines on. Decides nothing, keeps nothing."""

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from streamproc.core.lifecycle import Profile
from streamproc.demo import panels
from streamproc.demo.board import Board

WIDTH, HEIGHT = 80, 24
"""Of a usual terminal."""
THREE_WIDE, FOUR_WIDE, SIDE_BY_SIDE = 80, 120, 110
"""Columns from which there are so many panels in the first row, and two beneath."""
FULL_ROWS, THIRD_PANEL_ROWS, LEAST_ROWS = panels.PAIR_ROWS + 2, 15, 4


def render(board: Board, profile: Profile, width: int = WIDTH, height: int = HEIGHT) -> Layout:
    """Return the picture for a terminal of so many columns and lines."""
    header, footer = Layout(_header(board), size=1), Layout(_footer(board), size=2 if board.log else 1)
    above = Layout(size=min(FULL_ROWS, height - 2))
    above.split_row(*_figures(board, profile, width))
    pulse = [] if width >= THREE_WIDE else [Layout(panels.pulse(board), size=1)]
    left = height - FULL_ROWS - 2 - bool(board.log) - len(pulse)
    picture = Layout()
    picture.split_column(header, above, *pulse, *_lists(board, width, left), footer)
    return picture


def _figures(board: Board, profile: Profile, width: int) -> Sequence[Layout]:
    parts = [
        _panel("Events", panels.pairs(panels.events(board)), 23),
        _panel("Runs by status", panels.statuses(board, profile), 29),
        _panel("Health and tokens", panels.pairs(panels.health(board)), 28),
        _panel("Service", panels.pairs(panels.service(board)), 28),
    ]
    return parts[: 4 if width >= FOUR_WIDE else 3 if width >= THREE_WIDE else 2]


def _lists(board: Board, width: int, rows: int) -> Sequence[Layout]:
    """Return the lists that have room, beginning with what the service is for."""
    beside = width >= SIDE_BY_SIDE
    runs = _panel("Open runs, least time left first (!: told)", panels.open_runs(board), 1)
    changes = _panel("Last transitions (!: not as documented)", panels.changes(board, with_model=beside), 1)
    alerts = _panel("Last alerts", panels.alerts(board), 1)
    if rows < LEAST_ROWS:
        return ()
    if beside:
        pair = Layout()
        pair.split_row(runs, alerts)
        return (pair, changes) if rows >= 2 * LEAST_ROWS else (pair,)
    if rows >= THIRD_PANEL_ROWS:
        return runs, alerts, changes
    return (runs, changes) if rows >= 2 * LEAST_ROWS else (runs,)


def _panel(title: str, content: RenderableType, ratio: int) -> Layout:
    return Layout(Panel(content, title=title, title_align="left", border_style="bright_black"), ratio=ratio)


def _header(board: Board) -> Text:
    title = Text(" streamproc demo ", "bold reverse")
    links = [part for url in (board.console_url, board.prometheus_url or board.metrics_url) for part in _link(url)]
    parts = (title, f"  {duration(board.elapsed_s)}", *links, f"  Kafka {board.kafka}")
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _link(url: str) -> Sequence[str | tuple[str, str]]:
    return ("  ", (url, f"link {url} underline")) if url else ()


def _footer(board: Board) -> Text:
    phase = Text(f" {board.phase}", "bright_black")
    lines = [phase, *([Text(f" {board.log[-1]}", "yellow")] if board.log else [])]
    footer = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
    footer.no_wrap, footer.overflow = True, "ellipsis"
    return footer


def line(board: Board) -> str:
    """Return the board in one line, for where there is no terminal."""
    figures = board.figures
    parts: Mapping[str, str] = {
        "sent": f"{board.sent.total():,}",
        "events in": f"{figures.events:,} ({board.events_per_s:,.0f}/s)",
        "lag": f"{board.behind:,}",
        "runs": f"{figures.runs_by_status.total():,}",
        "late": f"{board.open_runs.late:,}",
        "firing": f"{figures.firing.total():,}",
        "failed": panels.share(board.failure_rate),
        "tokens/s": f"{board.tokens_per_s:,.0f}",
        "transitions": f"{figures.transitions:,}",
        "rejected": f"{figures.rejected.total():,}",
        "commits": f"{figures.commits:,}",
    }
    return "  ".join((duration(board.elapsed_s), *(f"{name} {value}" for name, value in parts.items())))


def duration(seconds: float) -> str:
    """Return minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
