"""The application: pages, API, probes and metrics, below the base path, behind the gate, measured."""

from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from streamproc.console.access import Access
from streamproc.console.api.problems import failed, problem, unforeseen
from streamproc.console.api.routes import Api
from streamproc.console.gate import METRICS, PROBES, AccessGate
from streamproc.console.measuring import MeasuredApp, RequestObserver
from streamproc.console.pages.options import PageOptions
from streamproc.console.pages.routing import error_page
from streamproc.console.pages.routing import routes as page_routes
from streamproc.console.reads import Actions, Reads
from streamproc.console.wholepath import Below
from streamproc.web.limits import InPieces


class Exposed(RequestObserver, Protocol):
    """The metrics."""

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return them, and their content type, as the HTTP Accept header `accept` asks."""


def application(
    reads: Reads,
    actions: Actions | None,
    access: Access,
    is_ready: Callable[[], bool],
    metrics: Exposed,
    base_path: str = "",
) -> ASGIApp:
    """Return the application. `is_ready`: whether the read model has been complete; `actions` None: read only."""
    options = PageOptions()
    as_page = error_page(options)

    async def as_asked(request: Request, error: Exception) -> Response:
        """Answer programs with a problem document, and people with a page."""
        if not request.scope["path"].removeprefix(base_path).startswith("/api/"):
            return await as_page(request, error)
        return failed(request, error) if isinstance(error, HTTPException) else unforeseen()

    routes = [*Api(access.security, base_path).routes(), *_probes(is_ready), _metrics(metrics), *page_routes(options)]
    inner = Starlette(routes=routes, exception_handlers={HTTPException: as_asked, Exception: as_asked})
    inner.router.redirect_slashes = False
    inner.state.reads, inner.state.actions = reads, actions
    gate = AccessGate(_below(base_path, inner) if base_path else inner, access, base_path)
    templates = {route.endpoint: route.path for route in routes if isinstance(route, Route)}
    return MeasuredApp(gate, metrics, templates, frozenset((*PROBES, METRICS)))


def _below(base_path: str, app: Starlette) -> Starlette:
    async def elsewhere(_: Request, __: Exception) -> Response:
        return problem(404, f"the console is at {base_path}/")

    async def inside(_: Request) -> Response:
        return RedirectResponse(f"{base_path}/")

    routes = [Route(base_path, inside), Below(base_path, app)]
    return Starlette(routes=routes, exception_handlers={HTTPException: elsewhere})


def _probes(is_ready: Callable[[], bool]) -> Sequence[BaseRoute]:
    async def livez(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def readyz(_: Request) -> Response:
        ok = is_ready()
        return JSONResponse({"ok": ok}, 200 if ok else 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]


def _metrics(metrics: Exposed) -> BaseRoute:
    async def exposition(request: Request) -> Response:
        body, content_type = await metrics.exposition(request.headers.get("accept", ""))
        return InPieces(body, headers={"content-type": content_type})

    return Route(METRICS, exposition)
