"""The page of alerts: firing, resolved, over."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.pages.asking import page_of, turning
from streamproc.console.pages.links import Links
from streamproc.console.pages.rendering import PageRenderer, reads
from streamproc.console.reads import AlertFilter

STATES: Final = ("firing", "resolved", "over")
ALL: Final = "all"


async def alerts(request: Request, renderer: PageRenderer) -> Response:
    """Show the list; its fragment is `rows`."""
    query = request.query_params
    state = query.get("state") or STATES[0]
    wanted = AlertFilter(
        state=None if state == ALL else state,
        kind=query.get("kind") or None,
        run_id=query.get("run") or None,
        assistant=query.get("assistant") or None,
    )
    answer = await reads(request).alerts(wanted, page_of(query, renderer.options.rows))
    links = Links(request.scope.get("root_path", ""))
    return renderer.page(
        request,
        "alerts",
        as_of=answer.as_of,
        answer=answer,
        state=state,
        states=(*STATES, ALL),
        wanted=wanted,
        other_filters={"kind": wanted.kind, "run": wanted.run_id, "assistant": wanted.assistant},
        turning=turning(links, "alerts", query, answer.next),
        is_first=not query.get("cursor"),
    )
