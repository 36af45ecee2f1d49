"""The end of the demo: the findings, and the service's figures compared with the content of the topics."""

from collections import Counter
from collections.abc import Sequence
from textwrap import fill
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamproc.core.alerts import AlertState
from streamproc.core.model import Verdict
from streamproc.demo.board import Board
from streamproc.demo.figures import Figures
from streamproc.demo.topics import TopicCounts
from streamproc.runtime.config import TopicSettings

AGREES, DIFFERS = "agree", "DIFFER"
UNBROKEN = "\N{NO-BREAK SPACE}"
WIDE = 80
"""Columns from which there is room for the names of the topics."""


class Figure(NamedTuple):
    """A figure of the service or the source, and the records or keys in its topic."""

    name: str
    counted: int
    topic: str
    in_topic: int

    @property
    def agrees(self) -> bool:
        """Whether both are the same."""
        return self.counted == self.in_topic


class DemoSummary:
    """The summary of a demo. `sent`: the source's figure; `topics`: their names as shown."""

    def __init__(self, sent: int, figures: Figures, counts: TopicCounts, topics: TopicSettings) -> None:
        self._figures = figures
        rejected, live = figures.rejected.total(), figures.runs_by_status.total()
        unmoved = figures.verdicts.total() - figures.transitions
        self.parts = {**{verdict.value: figures.verdicts[verdict] for verdict in Verdict}, "rejected": rejected}
        self.lines: Sequence[Figure] = (
            Figure("sent by the source", sent, topics.events, counts.events),
            Figure("events in", figures.events, topics.events, counts.events),
            Figure("verdicts and rejected", sum(self.parts.values()), topics.events, counts.events),
            Figure("rejected", rejected, topics.dead_letters, counts.dead_letters),
            Figure("transitions", figures.transitions, topics.transitions, counts.transitions),
            *([] if topics.verdicts is None else [Figure("no transition", unmoved, topics.verdicts, counts.verdicts)]),
            Figure("live runs", live, topics.state, counts.runs),
            Figure("alerts", figures.alerts, topics.alerts, counts.alerts),
            Figure("windows sent", figures.revisions, topics.metrics, counts.metrics),
        )

    @property
    def adds_up(self) -> bool:
        """Whether every line agrees."""
        return all(line.agrees for line in self.lines)

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        figures = [
            {"name": it.name, "counted": it.counted, "topic": it.topic, "in_topic": it.in_topic} for it in self.lines
        ]
        return {"adds_up": self.adds_up, "figures": figures, "verdicts_and_rejected": self.parts}

    def render(self, width: int = WIDE) -> RenderableType:
        """Return the summary for a terminal of `width` columns, at least 60."""
        return Group(self._table(with_topics=width >= WIDE), Text(), self._equation(width), Text(), self._verdict())

    def _table(self, *, with_topics: bool) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column()
        table.add_column("counted", justify="right")
        table.add_column("in the topic", justify="right")
        if with_topics:
            table.add_column("topic", style="dim", overflow="fold")
        table.add_column()
        for line in self.lines:
            mark = Text(AGREES, "green") if line.agrees else Text(DIFFERS, "bold red")
            topic = [line.topic] if with_topics else []
            table.add_row(line.name, f"{line.counted:,}", f"{line.in_topic:,}", *topic, mark)
        return table

    def _equation(self, columns: int) -> Text:
        """Return the sum of events: the names above their figures, or beside them where that is too wide."""
        cells = [("events in", self._figures.events), *self.parts.items()]
        names, counts = [], []
        for name, count in cells:
            width = max(len(name), len(f"{count:,}"))
            names.append(name.rjust(width))
            counts.append(f"{count:,}".rjust(width))
        rows = [f"{row[0]} = {' + '.join(row[1:])}" for row in (names, counts)]
        if len(rows[0]) > columns:
            longest = max(map(len, names))
            signs = ("", "=", *"+" * (len(names) - 2))
            parts = zip(signs, names, counts, strict=True)
            rows = [f"{sign:1} {name.strip():<{longest}} {count:>{longest}}" for sign, name, count in parts]
        return Text("\n".join(rows))

    def _verdict(self) -> Text:
        if self.adds_up:
            return Text("It adds up: every event is accounted for, once.", "bold green")
        names = ", ".join(line.name for line in self.lines if not line.agrees)
        text = f"It does NOT add up: {names}."
        if self._figures.failures:
            text += (
                f" {self._figures.failures} transactions failed; one of unknown outcome is in the topics, uncounted."
            )
        return Text(text, "bold red")


def findings(board: Board, width: int = WIDE) -> str:
    """Return the service's findings in lines of `width`: runs, tokens, alerts, and why events were rejected."""
    figures, firing = board.figures, board.figures.firing.total()
    fired = Counter({kind: count for (kind, state), count in figures.alerts_by.items() if state == AlertState.FIRING})
    rows = {
        "runs": _listed(figures.runs_by_status),
        "open runs": f"{board.open_runs.total:,}, {board.open_runs.late:,} of them past a limit",
        "tokens": _listed(figures.tokens),
        "alerts": _listed(fired) + (f"; {firing:,} still firing" if fired else ""),
        "rejected": _listed(figures.rejected),
    }
    indent = " " * (max(map(len, rows)) + 2)
    lines = (fill(f"{name:<{len(indent)}}{text}", width, subsequent_indent=indent) for name, text in rows.items())
    return "\n".join(lines).replace(UNBROKEN, " ")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,}{UNBROKEN}{name}" for name, count in counts.most_common() if count) or "none"
