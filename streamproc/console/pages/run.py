"""The page of one run: its state, its history, its object."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamproc import runpage
from streamproc.console.pages.asking import page_of, turning
from streamproc.console.pages.drawing import time_line
from streamproc.console.pages.links import Links
from streamproc.console.pages.rendering import FRAGMENT, PageRenderer, caller, reads
from streamproc.console.reads import MAX_PAGE

PEEK_STEPS = 12


async def run(request: Request, renderer: PageRenderer) -> Response:
    """Show the page; its fragments are `main` and `peek`."""
    run_id = request.path_params["run_id"] or request.query_params.get("id", "")
    if not run_id:
        raise HTTPException(404)
    is_peek = request.query_params.get(FRAGMENT) == "peek"
    query = request.query_params
    detail = await reads(request).run(run_id, payload=caller(request).sees_payloads and not is_peek)
    history = await reads(request).history(run_id, page_of(query, MAX_PAGE))
    links = Links(request.scope.get("root_path", ""))
    return renderer.page(
        request,
        "run",
        as_of=detail.as_of,
        run_id=run_id,
        run=detail.run,
        detail=detail,
        outgoing=[link for link in detail.links if link.url.startswith(("https://", "http://"))],
        history=history,
        latest=history.items[-PEEK_STEPS:],
        earlier=max(0, len(history.items) - PEEK_STEPS),
        line_of_time=time_line(detail.run, history.items, renderer.now_ms()),
        turning=turning(links, runpage.page_of(run_id)[0], query, history.next),
    )
