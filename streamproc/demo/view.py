"""Renders the board as a picture that fills the terminal, from 60 columns and 20 lines on. Has no state."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from streamproc.core.lifecycle import Profile
from streamproc.demo import panels
from streamproc.demo.board import Board

WIDTH, HEIGHT = 80, 24
"""The size of a usual terminal."""
THREE_WIDE, FOUR_WIDE, SIDE_BY_SIDE = 80, 120, 110
"""Columns from which the first row has this many panels, with two below."""
FULL_ROWS, LEAST_ROWS = panels.PAIR_ROWS + 1, 2


def render(board: Board, profile: Profile, width: int = WIDTH, height: int = HEIGHT) -> Layout:
    """Return the picture for a terminal of so many columns and lines."""
    header, footer = Layout(_header(board, width), size=1), Layout(_footer(board, width), size=2 if board.log else 1)
    above = Layout(size=min(FULL_ROWS, height - 2))
    above.split_row(*_figures(board, profile, width))
    pulse = [] if width >= THREE_WIDE else [Layout(_fitting(panels.pulse(board), width), size=1)]
    free_rows = height - FULL_ROWS - 2 - bool(board.log) - len(pulse)
    picture = Layout()
    picture.split_column(header, above, *pulse, *_lists(board, width, free_rows), footer)
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
    """Return the lists that have room for a title and a line, the most important first."""
    beside, narrow = width >= SIDE_BY_SIDE, width < THREE_WIDE
    runs = _panel("Open runs, least time left first (!: an alert fires)", panels.open_runs(board, narrow=narrow), 1)
    alerts = _panel("Last alerts", panels.alerts(board, narrow=narrow), 1)
    changes = panels.changes(board, narrow=narrow, with_model=beside)
    lists = [runs, alerts, _panel("Last transitions (!: not as documented)", changes, 1)]
    if beside:
        pair = Layout()
        pair.split_row(runs, alerts)
        lists[:2] = [pair]
    return lists[: max(0, rows) // LEAST_ROWS]


def _panel(title: str, content: RenderableType, ratio: int) -> Layout:
    """Return a panel under a rule, without a box: on a small terminal its lines are better used for rows."""
    rule = Rule(Text(title, "bold"), align="left", style="bright_black")
    return Layout(Padding(Group(rule, content), (0, 1)), ratio=ratio)


def _header(board: Board, width: int) -> Text:
    title = Text.assemble(("streamproc demo", "bold reverse"), f"  {duration(board.elapsed_s)}")
    return _fitting((title, *_link("console", board.console_url), Text(f"Kafka {board.kafka}")), width)


def _link(name: str, url: str) -> Iterator[Text]:
    if url:
        yield Text.assemble(f"{name} ", (url, f"link {url} underline"))


def _footer(board: Board, width: int) -> RenderableType:
    of_metrics = ("Prometheus", board.prometheus_url) if board.prometheus_url else ("metrics", board.metrics_url)
    lines = [_fitting((Text(board.phase, "bright_black"), *_link(*of_metrics)), width)]
    if board.log:
        lines.append(_fitting((Text(board.log[-1], "yellow"),), width))
    return Group(*lines)


def _fitting(parts: Sequence[Text], width: int) -> Text:
    """Return one line of as many parts as fit. No part is cut: half an address or figure would be useless."""
    first, *others = parts
    text = Text.assemble(" ", first, no_wrap=True, overflow="ellipsis")
    for part in others:
        if text.cell_len + part.cell_len + 2 > width:
            break
        text.append("  ").append_text(part)
    return text


def line(board: Board) -> str:
    """Return the board as one line, for use without a terminal."""
    figures = board.figures
    parts: Mapping[str, str] = {
        "sent": f"{board.sent.total():,}",
        "events in": f"{figures.events:,} ({board.events_per_s:,.0f}/s)",
        "lag": f"{board.behind:,}",
        "runs": f"{figures.runs_by_status.total():,}",
        "open": f"{board.open_runs.total:,}",
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
