"""What fires, what was resolved, what is over."""

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
    asked = request.query_params
    state = asked.get("state") or STATES[0]
    wanted = AlertFilter(
        state=None if state == ALL else state,
        kind=asked.get("kind") or None,
        run_id=asked.get("run") or None,
        assistant=asked.get("assistant") or None,
    )
    found = await reads(request).alerts(wanted, page_of(asked, renderer.options.rows))
    links = Links(request.scope.get("root_path", ""))
    return renderer.page(
        request,
        "alerts",
        as_of=found.as_of,
        found=found,
        state=state,
        states=(*STATES, ALL),
        wanted=wanted,
        kept={"kind": wanted.kind, "run": wanted.run_id, "assistant": wanted.assistant},
        turning=turning(links, "alerts", asked, found.next),
        is_first=not asked.get("cursor"),
    )
