"""What the API and the pages ask: one interface, so that pages can be tried without Kafka and without a read model."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from streamproc.console.answers.fleet import ConsoleHealth, Overview, Pipeline, Series
from streamproc.console.answers.runs import History, RunDetail, Runs, Step, Values
from streamproc.console.answers.signals import Alerts, LetterDetail, Letters, Replay
from streamproc.console.qualifiers import Filter

MAX_PAGE = 200
SORTS = ("-since", "since", "deadline")
"""Newest in their status first; longest in their status first; whose limit is over first."""


class Page(NamedTuple):
    """Which part of a list: `cursor` is the `next` of the page before. `limit`: 1 to MAX_PAGE."""

    limit: int = 50
    cursor: str | None = None


class AlertFilter(NamedTuple):
    """Empty, or None: any. `state`: firing, resolved, over."""

    state: str | None = None
    kind: str | None = None
    run_id: str | None = None
    assistant: str | None = None


class LetterFilter(NamedTuple):
    """Empty, or None: any. `open_only`: not those that were replayed."""

    reason: str | None = None
    schema: str | None = None
    topic: str | None = None
    partition: int | None = None
    open_only: bool = False


class SeriesFilter(NamedTuple):
    """Windows that start from `since_ms` on and before `until_ms`, of `size_s` (None: the smallest)."""

    since_ms: int
    until_ms: int
    size_s: int | None = None
    assistant: str | None = None
    model: str | None = None


class StreamFilter(NamedTuple):
    """Which events of the stream: empty, or None: any. `kinds`: transition, alert."""

    kinds: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    assistant: str | None = None
    model: str | None = None
    run_id: str | None = None


class Event(NamedTuple):
    """One of the stream. `id`: what Last-Event-ID resumes behind.

    `kind`: transition or alert; `open`, without a step, is the first one where nothing was to be resumed.
    """

    id: str
    kind: str = "open"
    run_id: str | None = None
    assistant_id: str | None = None
    model: str | None = None
    step: Step | None = None


class NotFound(Exception):
    """There is nothing of that name in the read model; it may only be late: the answer says how far it has come."""


class BadCursor(ValueError):
    """The cursor is none, or of a read model that was rebuilt since: begin at the first page."""


class Reads(Protocol):
    """All of them raise Busy where the time for a query is over, and nothing can be answered in part."""

    async def overview(self) -> Overview:
        """Return the state of the fleet."""

    async def runs(self, wanted: Filter, sort: str, page: Page) -> Runs:
        """Return a page of runs, `sort` one of SORTS; raises BadCursor."""

    async def run(self, run_id: str, *, payload: bool) -> RunDetail:
        """Return one run, with its RunObject where `payload`; raises NotFound."""

    async def history(self, run_id: str, page: Page) -> History:
        """Return what happened to a run; raises NotFound where nothing is known, BadCursor."""

    async def values(self, qualifier: str, prefix: str, limit: int) -> Values:
        """Return what a qualifier (status, assistant, model, error) may be completed to."""

    async def alerts(self, wanted: AlertFilter, page: Page) -> Alerts:
        """Return a page of alerts; raises BadCursor."""

    async def letters(self, wanted: LetterFilter, page: Page) -> Letters:
        """Return a page of dead letters; raises BadCursor."""

    async def letter(self, partition: int, offset: int, *, payload: bool) -> LetterDetail:
        """Return one dead letter, with what it holds where `payload`; raises NotFound."""

    async def series(self, wanted: SeriesFilter, page: Page) -> Series:
        """Return windows; raises BadCursor."""

    async def pipeline(self) -> Pipeline:
        """Return who does what."""

    async def health(self) -> ConsoleHealth:
        """Return how the console itself is."""

    def events(self, wanted: StreamFilter, last_id: str | None) -> AsyncIterator[Sequence[Event]]:
        """Yield events as they come, behind `last_id`, in batches, one of them at once; raises BadCursor.

        Where there is none for 10 s, an empty batch.
        """


class Actions(Protocol):
    """What an operator may do."""

    async def replay(
        self,
        caller: str,
        wanted: LetterFilter,
        places: Sequence[tuple[int, int]],
        *,
        dry_run: bool,
        expected: int | None,
    ) -> Replay:
        """Send dead letters back, by the engine of `dlq replay`, and leave a record of who did.

        Raises ConfigError, BrokerUnavailable; Changed where another number than `expected` would be sent.
        """


class Busy(Exception):
    """The time for a query is over."""


class Changed(Exception):
    """There is something else now than what was confirmed. `now`: how many letters there are."""

    def __init__(self, now: int) -> None:
        super().__init__(f"there are {now:,} such letters now: look again, and confirm that number")
        self.now = now
