"""The state of the fleet, and its figures over time."""

import json
from itertools import islice
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.answers.fleet import Overview, Series, SeriesPoint, StatusCount
from streamproc.console.pages.rendering import PageRenderer, reads
from streamproc.console.reads import MAX_PAGE, Page, Reads, SeriesFilter

RANGES: Final = {"1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800}
MAX_POINTS: Final = 600


class ChartLine(NamedTuple):
    """A line of the chart; None: nothing was measured."""

    name: str
    values: list[float | None]


CHARTS: Final = {
    "runs": ("Runs per window", "runs"),
    "failures": ("Failure rate", "%"),
    "durations": ("Mean times", "s"),
    "tokens": ("Tokens per window", "tokens"),
}


async def overview(request: Request, renderer: PageRenderer) -> Response:
    """Show the page; its fragments are `figures` and `chart`."""
    answer = await reads(request).overview()
    query = request.query_params
    within = query.get("range", "1h") if query.get("range", "1h") in RANGES else "1h"
    shown = query.get("chart", "runs") if query.get("chart", "runs") in CHARTS else "runs"
    wanted = SeriesFilter(
        since_ms=renderer.now_ms() - RANGES[within] * 1_000,
        until_ms=renderer.now_ms(),
        assistant=query.get("assistant") or None,
        model=query.get("model") or None,
    )
    series = await _series(reads(request), wanted) if query.get("fragment") != "figures" else None
    chart = [] if series is None else lines(shown, series.items)
    return renderer.page(
        request,
        "overview",
        as_of=answer.as_of,
        fleet=answer,
        overdue=sum(status.overdue for status in answer.statuses),
        rows=[StatusRow(status, *_standing(status, renderer.now_ms(), answer)) for status in answer.statuses],
        series=series,
        chart=chart,
        data=None if series is None else _data(series.items, chart),
        wanted=wanted,
        within=within,
        ranges=RANGES,
        shown=shown,
        charts=CHARTS,
    )


class StatusRow(NamedTuple):
    """A status now. In percent: `share` of the largest count; `used`: how much of its limit the oldest run has used."""

    now: StatusCount
    share: float
    used: float | None


def _standing(status: StatusCount, now_ms: int, fleet: Overview) -> tuple[float, float | None]:
    most = max((status.count for status in fleet.statuses), default=0) or 1
    used = None
    if status.limit_s and status.oldest_since is not None and status.is_open:
        used = min(100.0, (now_ms - status.oldest_since) / 10 / status.limit_s)
    return status.count / most * 100, used


async def _series(source: Reads, wanted: SeriesFilter) -> Series:
    """Return the finest series that fits into a chart."""
    page = Page(limit=MAX_PAGE)
    series = await source.series(wanted, page)
    points = (wanted.until_ms - wanted.since_ms) / 1_000
    sizes = [size for size in sorted(series.sizes_s) if points / size <= MAX_POINTS] or series.sizes_s[-1:]
    if sizes and series.size_s not in sizes:
        wanted = wanted._replace(size_s=sizes[0])
        series = await source.series(wanted, page)
    items, following = [*series.items], series.next
    while following and len(items) < MAX_POINTS:
        more = await source.series(wanted._replace(size_s=series.size_s), Page(MAX_PAGE, following))
        items, following = items + more.items, more.next
    series.items = list(islice(items, MAX_POINTS))
    return series


def lines(chart: str, windows: list[SeriesPoint]) -> list[ChartLine]:
    """Return the lines of a chart."""
    if chart == "failures":
        return [ChartLine("failed of ended", [_percent(window.failure_rate) for window in windows])]
    if chart == "durations":
        return [
            ChartLine("waiting in the queue", [window.queue_wait_mean_s for window in windows]),
            ChartLine("running", [window.run_duration_mean_s for window in windows]),
            ChartLine("waiting for action", [window.action_wait_mean_s for window in windows]),
        ]
    if chart == "tokens":
        kinds = dict.fromkeys(kind for window in windows for kind in window.tokens)
        return [ChartLine(kind, [window.tokens.get(kind, 0) for window in windows]) for kind in kinds]
    outcomes = dict.fromkeys(outcome for window in windows for outcome in window.ended)
    ended = [ChartLine(outcome, [window.ended.get(outcome, 0) for window in windows]) for outcome in outcomes]
    return [ChartLine("created", [window.created for window in windows]), *ended]


def _percent(rate: float | None) -> float | None:
    return None if rate is None else round(rate * 100, 2)


def _data(windows: list[SeriesPoint], chart: list[ChartLine]) -> str:
    """Return the data of a chart as JSON for the script: names, and columns, of which the first has the times."""
    times = [window.start // 1_000 for window in windows]
    return json.dumps({"names": [line.name for line in chart], "columns": [times, *(line.values for line in chart)]})
