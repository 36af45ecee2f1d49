"""The queries of the API and the pages: one interface, so that pages can be tested without Kafka or a read model."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from streamproc.console.answers.fleet import ConsoleHealth, Overview, PipelineState, Series
from streamproc.console.answers.runs import History, RunDetail, Runs, Step, Values
from streamproc.console.answers.signals import Alerts, LetterDetail, Letters, Replay
from streamproc.console.qualifiers import Filter

MAX_PAGE = 200
SORTS = ("-since", "since", "deadline")
"""Sort orders: newest in their status first; longest in their status first; earliest limit first."""


class Page(NamedTuple):
    """A part of a list. `cursor`: the `next` of the page before. `limit`: 1 to MAX_PAGE."""

    limit: int = 50
    cursor: str | None = None


class AlertFilter(NamedTuple):
    """Empty, or None: any. `state`: firing, resolved, over."""

    state: str | None = None
    kind: str | None = None
    run_id: str | None = None
    assistant: str | None = None


class LetterFilter(NamedTuple):
    """Empty, or None: any. `open_only`: without those that were replayed."""

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
    """An event of the stream. `id`: the value of Last-Event-ID that resumes behind it.

    `kind`: transition or alert; or `open`, without a step: the first event of a stream that resumes nothing.
    """

    id: str
    kind: str = "open"
    run_id: str | None = None
    assistant_id: str | None = None
    model: str | None = None
    step: Step | None = None


class NotFound(Exception):
    """The read model has nothing of that name. It may only be late: the answer says how far it has read."""


class BadCursor(ValueError):
    """The cursor is invalid, or of a read model that was rebuilt since: begin at the first page."""


class Reads(Protocol):
    """All methods raise Busy where a query takes too long and a partial answer is not possible."""

    async def overview(self) -> Overview:
        """Return the state of the fleet."""

    async def runs(self, wanted: Filter, sort: str, page: Page) -> Runs:
        """Return a page of runs, `sort` one of SORTS; raises BadCursor."""

    async def run(self, run_id: str, *, payload: bool) -> RunDetail:
        """Return one run, with its RunObject where `payload`; raises NotFound."""

    async def history(self, run_id: str, page: Page) -> History:
        """Return the history of a run; raises NotFound where nothing is known, BadCursor."""

    async def values(self, qualifier: str, prefix: str, limit: int) -> Values:
        """Return the completions of a qualifier (status, assistant, model, error)."""

    async def alerts(self, wanted: AlertFilter, page: Page) -> Alerts:
        """Return a page of alerts; raises BadCursor."""

    async def letters(self, wanted: LetterFilter, page: Page) -> Letters:
        """Return a page of dead letters; raises BadCursor."""

    async def letter(self, partition: int, offset: int, *, payload: bool) -> LetterDetail:
        """Return one dead letter, with its content where `payload`; raises NotFound."""

    async def series(self, wanted: SeriesFilter, page: Page) -> Series:
        """Return windows; raises BadCursor."""

    async def pipeline(self) -> PipelineState:
        """Return the instances and the partitions."""

    async def health(self) -> ConsoleHealth:
        """Return the health of the console itself."""

    def events(self, wanted: StreamFilter, last_id: str | None) -> AsyncIterator[Sequence[Event]]:
        """Yield batches of events as they come, from behind `last_id` on; raises BadCursor.

        The first batch comes at once. After 10 s without an event an empty batch is yielded.
        """


class Actions(Protocol):
    """The actions of an operator."""

    async def replay(
        self,
        caller: str,
        wanted: LetterFilter,
        places: Sequence[tuple[int, int]],
        *,
        dry_run: bool,
        expected: int | None,
    ) -> Replay:
        """Send dead letters back, as `dlq replay` does, and log who did.

        Raises ConfigError, BrokerUnavailable; Changed where the number to send is not `expected`.
        """


class Busy(Exception):
    """The time for a query is over."""


class Changed(Exception):
    """The letters are not those that were confirmed. `now`: how many there are."""

    def __init__(self, count: int) -> None:
        super().__init__(f"there are {count:,} such letters now: look again, and confirm that number")
        self.now = count
