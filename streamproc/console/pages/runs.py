"""The list of runs; its URL has all of its options."""

import json
from hashlib import blake2b
from typing import Any, Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from streamproc.console.answers.runs import Run
from streamproc.console.pages.asking import page_of, turning
from streamproc.console.pages.links import Links
from streamproc.console.pages.rendering import FRAGMENT, PageRenderer, reads
from streamproc.console.pages.written import NOTHING
from streamproc.console.qualifiers import FLAGS, LISTS, METADATA, PRESETS, BadQuery, Filter, parse
from streamproc.console.reads import MAX_PAGE, SORTS

SORT_NAMES: Final = dict(
    zip(SORTS, ("newest in their status", "longest in their status", "limit over first"), strict=True)
)
EXAMPLES: Final = {
    **{f"{name}:": f"one {name}, or several: a,b" for name in LISTS},
    **{f"is:{flag}": "" for flag in FLAGS},
    "age:>": "in its status for longer: 90s, 10m, 2h, 3d",
    "age:<": "in its status for less",
    METADATA: "metadata: meta.KEY:VALUE",
    "id:": "what the id begins with",
}
"""Completions of the filter bar: the qualifiers, and what they mean."""
MAX_VALUES: Final = 20
KEYS: Final = "keys"


async def runs(request: Request, renderer: PageRenderer) -> Response:
    """Show the list; its fragments are `rows`, and `keys`: JSON, by which the script sees what is new."""
    query = request.query_params
    text, sort = query.get("q", "").strip(), query.get("sort") or SORTS[0]
    links = Links(request.scope.get("root_path", ""))
    try:
        wanted = _parsed(text, sort)
    except BadQuery as error:
        health = await reads(request).health()
        return renderer.page(
            request, "runs", as_of=health.as_of, status=400, answer=None, error=str(error), **_bar(text, SORTS[0])
        )
    answer = await reads(request).runs(wanted, sort, page_of(query, renderer.options.rows))
    if query.get(FRAGMENT) == KEYS:
        return JSONResponse({"keys": [key(run) for run in answer.items]})
    return renderer.page(
        request,
        "runs",
        as_of=answer.as_of,
        answer=answer,
        error=None,
        turning=turning(links, "runs", query, answer.next),
        cells=Cells(wanted, sort, links),
        key=key,
        is_first=not query.get("cursor"),
        **_bar(text, sort),
    )


def _parsed(text: str, sort: str) -> Filter:
    if sort not in SORTS:
        raise BadQuery(f"runs are sorted by {', '.join(SORTS)}")
    return parse(text)


def _bar(text: str, sort: str) -> dict[str, Any]:
    return {"q": text, "sort": sort, "sorts": SORT_NAMES, "presets": PRESETS, "examples": json.dumps(EXAMPLES)}


CELL: Final = Markup(
    '<span class="cell"><a href="{}">{}</a><a class="without" href="{}" tabindex="-1" title="without it" '
    'aria-label="without this {}"><svg class="shape" aria-hidden="true"><use href="#out"/></svg></a></span>'
)


class Cells:
    """Makes cells: each value is a link to the runs that have it, with a smaller one to those that do not."""

    def __init__(self, wanted: Filter, sort: str, links: Links) -> None:
        self._wanted, self._links = wanted, links
        self._sort = None if sort == SORTS[0] else sort
        self._cells: dict[tuple[str, str], Markup] = {}

    def cell(self, name: str, value: str | None, shown: Markup) -> Markup:
        """Return the cell of a qualifier's value. Cached: most values occur often on a page."""
        if not value:
            return NOTHING
        if (cell := self._cells.get((name, value))) is None:
            values = (*self._wanted.unwanted.get(name, ()), value)
            only, without = self._to(Filter(wanted={name: (value,)})), self._to(Filter(unwanted={name: values}))
            cell = self._cells[name, value] = CELL.format(only, shown, without, name)
        return cell

    def _to(self, change: Filter) -> str:
        return self._links.runs(self._wanted.merged(change), sort=self._sort)


def key(run: Run) -> str:
    """Return a row's key, which stays while its run keeps its status. A hash: HTML cannot hold every character."""
    entered = f"{run.status_since} {run.run_id}".encode("utf-8", "surrogatepass")
    return blake2b(entered, digest_size=8).hexdigest()


async def completion(request: Request) -> Response:
    """Answer with the completions of a qualifier: `items`, pairs of a value and the number of runs with it."""
    query = request.query_params
    answer = await reads(request).values(query.get("qualifier", ""), query.get("prefix", ""), min(MAX_VALUES, MAX_PAGE))
    return JSONResponse({"items": answer.items})
