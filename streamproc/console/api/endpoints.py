"""The endpoints of the API: one declaration for each path, from which routes and OpenAPI description are made."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, structs

from streamproc.console.answers.common import Answer
from streamproc.console.answers.fleet import ConsoleHealth, Overview, PipelineState, Series
from streamproc.console.answers.runs import History, RunDetail, Runs, Values
from streamproc.console.answers.signals import Alerts, LetterDetail, Letters
from streamproc.console.api.parameters import Parameter, WrongParameter
from streamproc.console.callers import Caller
from streamproc.console.qualifiers import FLAGS, LISTS, Filter, age, parse
from streamproc.console.reads import MAX_PAGE, SORTS, AlertFilter, LetterFilter, Page, Reads, SeriesFilter

HOUR_MS = 3_600_000
FORMATS = ("json", "csv", "ndjson")

LIMIT = Parameter("limit", "How many there are in a page.", "integer", minimum=1, maximum=MAX_PAGE, default=50)
CURSOR = Parameter("cursor", "`next` of the page before.", form="cursor")
FORMAT = Parameter(
    "format",
    "As a page of JSON, or all pages as CSV or NDJSON: whole, or the connection breaks off before the end.",
    choices=FORMATS,
    default="json",
)
PAGED = (LIMIT, CURSOR, FORMAT)
TIME = 253_402_300_799_999


class Call(NamedTuple):
    """A request: the read model, the caller, the query parameters by name, and the path parameters."""

    reads: Reads
    caller: Caller
    values: Mapping[str, Any]
    path: Mapping[str, Any]

    @property
    def page(self) -> Page:
        """The requested page."""
        return Page(self.values["limit"], self.values["cursor"])


class Endpoint(NamedTuple):
    """A path below /api/v1, and its answer. `is_list`: it has pages, and CSV and NDJSON as well."""

    path: str
    summary: str
    answer: type[Struct]
    ask: Callable[[Call], Awaitable[Answer]]
    parameters: Sequence[Parameter] = ()
    is_list: bool = False


async def _overview(call: Call) -> Overview:
    return await call.reads.overview()


async def _runs(call: Call) -> Runs:
    return await call.reads.runs(filter_of(call.values), call.values["sort"], call.page)


async def _run(call: Call) -> RunDetail:
    return await call.reads.run(call.path["run_id"], payload=call.caller.sees_payloads)


async def _history(call: Call) -> History:
    return await call.reads.history(call.path["run_id"], call.page)


async def _values(call: Call) -> Values:
    return await call.reads.values(call.values["qualifier"] or "status", call.values["prefix"] or "", 20)


async def _alerts(call: Call) -> Alerts:
    names = ("state", "kind", "run_id", "assistant")
    return await call.reads.alerts(AlertFilter(**{name: call.values[name] for name in names}), call.page)


async def _letters(call: Call) -> Letters:
    return await call.reads.letters(letter_filter(call.values), call.page)


async def _letter(call: Call) -> LetterDetail:
    return await call.reads.letter(call.path["partition"], call.path["offset"], payload=call.caller.sees_payloads)


async def _series(call: Call) -> Series:
    now_ms = int(time.time() * 1_000)
    until = now_ms if call.values["until"] is None else call.values["until"]
    since = until - HOUR_MS if call.values["since"] is None else call.values["since"]
    size, assistant, model = (call.values[name] for name in ("size", "assistant", "model"))
    return await call.reads.series(SeriesFilter(max(0, since), until, size, assistant, model), call.page)


async def _pipeline(call: Call) -> PipelineState:
    return await call.reads.pipeline()


async def _health(call: Call) -> ConsoleHealth:
    return await call.reads.health()


def filter_of(values: Mapping[str, Any]) -> Filter:
    """Return the filter of runs in parameters, merged with that in `q`; raises BadQuery, WrongParameter."""
    flags = [flag for flag in FLAGS if values[flag]]
    metadata = dict(_pair(text) for text in values["meta"])
    own = Filter(
        {name: tuple(values[name]) for name in LISTS if values[name]},
        flags=tuple(flags),
        older_ms=None if values["older"] is None else age(values["older"]),
        younger_ms=None if values["younger"] is None else age(values["younger"]),
        metadata=metadata,
        run_id=values["id"] or "",
    )
    return parse(values["q"] or "").merged(own)


def letter_filter(values: Mapping[str, Any]) -> LetterFilter:
    """Return the filter of dead letters in parameters."""
    names = ("reason", "schema", "topic", "partition")
    return LetterFilter(**{name: values[name] for name in names}, open_only=bool(values["open"]))


def _pair(text: str) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not key or not colon:
        raise WrongParameter("meta: KEY:VALUE")
    return key, value


RUNS = (
    Parameter(
        "q",
        "A filter as the console's bar has it: `status:failed -assistant:a age:>5m meta.team:x`.",
        form="run-filter",
    ),
    *(Parameter(name, f"Any of these values of {name}.", is_list=True) for name in LISTS),
    Parameter("open", "Those that have not ended.", "boolean"),
    Parameter("ended", "Those that have ended.", "boolean"),
    Parameter("overdue", "Those past a limit.", "boolean"),
    Parameter("illegal", "Those with an event that contradicted their end.", "boolean"),
    Parameter("older", "In their status for longer than this age, such as 90s, 10m, 2h, 3d.", form="age"),
    Parameter("younger", "In their status for less than this age.", form="age"),
    Parameter(
        "meta", "Metadata as KEY:VALUE, of a key that the setting index_metadata names.", form="pair", is_list=True
    ),
    Parameter("id", "What the run id begins with."),
    Parameter(
        "sort",
        "Newest in their status first, longest in their status first, or whose limit is over first. With `id`: by id. "
        "A run that changes from one page to the next may be on none of them; with `since` it comes at the end.",
        choices=SORTS,
        default=SORTS[0],
    ),
)
LETTERS = (
    Parameter("reason", "Why they were rejected."),
    Parameter("schema", "The label of their schema, such as id:17, crc64:…, json or none."),
    Parameter("topic", "The topic that they come from."),
    Parameter("partition", "The partition that they come from.", "integer", maximum=1_000_000),
    Parameter("open", "Only those that were not replayed.", "boolean"),
)
SERIES = (
    Parameter(
        "since", "Windows that start from here on, in milliseconds; an hour by default.", "integer", maximum=TIME
    ),
    Parameter("until", "Windows that start before this; now by default.", "integer", maximum=TIME),
    Parameter("size", "Of the windows, in seconds; the smallest by default.", "integer", minimum=1, maximum=86_400),
    Parameter("assistant", "Only of this assistant."),
    Parameter("model", "Only of this model."),
)
ALERTS = (
    Parameter("state", "Firing, resolved, or an occurrence that is over.", choices=("firing", "resolved", "over")),
    Parameter("kind", "Such as overdue or stuck_queued."),
    Parameter("run_id", "Only of this run."),
    Parameter("assistant", "Only of this assistant."),
)
VALUES = (
    Parameter("qualifier", "Of what.", choices=("status", "assistant", "model", "error"), default="status"),
    Parameter("prefix", "What they begin with."),
)

ENDPOINTS = (
    Endpoint("/overview", "The state of the fleet.", Overview, _overview),
    Endpoint("/runs", "Runs, by their latest states.", Runs, _runs, (*RUNS, *PAGED), is_list=True),
    Endpoint("/runs/{run_id}", "One run, with the RunObject of its last event.", RunDetail, _run),
    Endpoint("/runs/{run_id}/history", "What happened to a run.", History, _history, PAGED, is_list=True),
    Endpoint("/values", "What a qualifier may be completed to.", Values, _values, VALUES),
    Endpoint("/metrics", "Windows of run-metrics, as a series.", Series, _series, (*SERIES, *PAGED), is_list=True),
    Endpoint("/alerts", "Alerts, decided last first.", Alerts, _alerts, (*ALERTS, *PAGED), is_list=True),
    Endpoint("/dead-letters", "Rejected events, last first.", Letters, _letters, (*LETTERS, *PAGED), is_list=True),
    Endpoint("/dead-letters/{partition}/{offset}", "One rejected event.", LetterDetail, _letter),
    Endpoint("/pipeline", "Who does what.", PipelineState, _pipeline, (FORMAT,), is_list=True),
    Endpoint("/health", "How the console is.", ConsoleHealth, _health),
)
STREAM = (
    Parameter("kind", "Only these.", choices=("transition", "alert"), is_list=True),
    Parameter("status", "Only into these statuses.", is_list=True),
    Parameter("assistant", "Only of this assistant."),
    Parameter("model", "Only of this model."),
    Parameter("run_id", "Only of this run."),
)


def next_page(call: Call, cursor: str) -> Call:
    """Return the request for the page behind a cursor."""
    return call._replace(values={**call.values, "cursor": cursor, "limit": MAX_PAGE})


def items_of(answer: Answer) -> tuple[Sequence[Struct], str | None]:
    """Return the items of a list, and its next cursor."""
    fields = structs.asdict(answer)
    return fields["items"], fields["next"]
