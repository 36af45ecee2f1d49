"""The end of the demo: what was counted, held against what the topics hold."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamproc.core.model import Verdict
from streamproc.demo.figures import Figures
from streamproc.demo.topics import Held
from streamproc.runtime.config import TopicSettings

AGREES, DIFFERS = "agree", "DIFFER"


class Line(NamedTuple):
    """A figure and where it comes from, and how many records or keys its topic holds."""

    name: str
    counted: int
    topic: str
    held: int

    @property
    def agrees(self) -> bool:
        """Whether both are the same."""
        return self.counted == self.held


class Summary:
    """Adds up, or does not. `sent` is the source's figure, `topics` as they are to be named."""

    def __init__(self, sent: int, figures: Figures, held: Held, topics: TopicSettings) -> None:
        self._figures = figures
        rejected, live = figures.rejected.total(), figures.runs_by_status.total()
        unmoved = figures.verdicts.total() - figures.transitions
        self.parts = {**{verdict.value: figures.verdicts[verdict] for verdict in Verdict}, "rejected": rejected}
        self.lines: Sequence[Line] = (
            Line("sent by the source", sent, topics.events, held.events),
            Line("events in", figures.events, topics.events, held.events),
            Line("verdicts and rejected", sum(self.parts.values()), topics.events, held.events),
            Line("rejected", rejected, topics.dead_letters, held.dead_letters),
            Line("transitions", figures.transitions, topics.transitions, held.transitions),
            *([] if topics.verdicts is None else [Line("no transition", unmoved, topics.verdicts, held.verdicts)]),
            Line("live runs", live, topics.state, held.runs),
            Line("alerts", figures.alerts, topics.alerts, held.alerts),
            Line("windows sent", figures.revisions, topics.metrics, held.metrics),
        )

    @property
    def adds_up(self) -> bool:
        """Whether every line agrees."""
        return all(line.agrees for line in self.lines)

    def render(self) -> RenderableType:
        """Return it for a terminal of 80 columns, or for a file."""
        return Group(self._table(), Text(), self._equation(), Text(), self._verdict())

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column()
        table.add_column("counted", justify="right")
        table.add_column("in the topic", justify="right")
        table.add_column("topic", style="dim", overflow="fold")
        table.add_column()
        for line in self.lines:
            mark = Text(AGREES, "green") if line.agrees else Text(DIFFERS, "bold red")
            table.add_row(line.name, f"{line.counted:,}", f"{line.held:,}", line.topic, mark)
        return table

    def _equation(self) -> Text:
        """Name the parts and give their figures, one above the other."""
        cells = [("events in", self._figures.events), *self.parts.items()]
        names, counts = [], []
        for name, count in cells:
            width = max(len(name), len(f"{count:,}"))
            names.append(name.rjust(width))
            counts.append(f"{count:,}".rjust(width))
        rows = (f"{row[0]} = {' + '.join(row[1:])}" for row in (names, counts))
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
