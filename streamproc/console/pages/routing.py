"""The pages' routes."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streamproc.console.pages import assets
from streamproc.console.pages.alerts import alerts
from streamproc.console.pages.guard import Guard, protected
from streamproc.console.pages.letters import letter, letters
from streamproc.console.pages.options import PageOptions
from streamproc.console.pages.overview import overview
from streamproc.console.pages.pipeline import pipeline
from streamproc.console.pages.rendering import PageRenderer
from streamproc.console.pages.reports import Reports
from streamproc.console.pages.run import run
from streamproc.console.pages.runs import completion, runs
from streamproc.console.wholepath import RUN


def routes(options: PageOptions) -> list[BaseRoute]:
    """Return the routes. They use `app.state.reads` (Reads) and `request.state.caller` (Caller)."""
    guard = Guard(PageRenderer(options))
    return [
        Route("/", guard.page(overview)),
        Route("/runs", guard.page(runs)),
        Route(f"/runs/{RUN}", guard.page(run)),
        Route("/alerts", guard.page(alerts)),
        Route("/dead-letters", guard.page(letters)),
        Route("/dead-letters/{partition}/{offset}", guard.page(letter)),
        Route("/pipeline", guard.page(pipeline)),
        Route("/complete", guard.plain(completion)),
        Route("/static/{name:path}", guard.plain(assets.serve)),
        Route("/csp-report", guard.plain(Reports().receive), methods=["POST"]),
    ]


def error_page(options: PageOptions) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return Starlette's handler of HTTPException: the error as a page."""
    guard = Guard(PageRenderer(options))

    async def respond(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return protected(request, guard.error(request, status))

    return respond
