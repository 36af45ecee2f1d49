"""The application: pages, API, probes; below the base path, behind the gate."""

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from streamproc.console.access import Access
from streamproc.console.api.problems import problem_of
from streamproc.console.api.routes import PREFIX, routes
from streamproc.console.gate import Gate
from streamproc.console.pages.options import Pages
from streamproc.console.pages.routing import error_page
from streamproc.console.pages.routing import routes as page_routes
from streamproc.console.reads import Actions, Reads


def application(
    reads: Reads,
    actions: Actions | None,
    access: Access,
    is_ready: Callable[[], bool],
    base_path: str = "",
) -> ASGIApp:
    """Return the application. `is_ready`: whether the read model was complete once; `actions` None: it only reads."""
    options = Pages()
    as_page = error_page(options)

    async def as_asked(request: Request, error: Exception) -> Response:
        """Tell programs by a problem, and people by a page."""
        is_api = request.scope["path"].removeprefix(base_path).startswith(f"{PREFIX}/")
        return problem_of(error) if is_api else await as_page(request, error)

    inner = Starlette(
        routes=[*routes(), *_probes(is_ready), *page_routes(options)], exception_handlers={HTTPException: as_asked}
    )
    inner.router.redirect_slashes = False
    inner.state.reads, inner.state.actions = reads, actions
    app = Starlette(routes=[Mount(base_path, inner)]) if base_path else inner
    return Gate(app, access, base_path)


def _probes(is_ready: Callable[[], bool]) -> Sequence[BaseRoute]:
    async def livez(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def readyz(_: Request) -> Response:
        ok = is_ready()
        return JSONResponse({"ok": ok}, 200 if ok else 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]
