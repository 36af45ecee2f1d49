"""Common to all responses of the pages: security headers, and errors as pages."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.pages.rendering import PageRenderer, reads
from streamproc.console.reads import BadCursor, Busy, NotFound

View = Callable[[Request, PageRenderer], Awaitable[Response]]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; report-uri {root}/csp-report"
)
TEXTS = {
    403: "You may not see this. Ask whoever runs this console for the right to it.",
    404: "There is no such page.",
    405: "This page cannot be asked like that.",
    409: "There is something else now than what was confirmed. Look again.",
    503: "The answer took longer than a query may. Ask for less, or try again in a moment.",
}


def protected(request: Request, response: Response) -> Response:
    """Add the headers that make a browser load and run only our own files."""
    response.headers["content-security-policy"] = POLICY.format(root=request.scope.get("root_path", ""))
    response.headers["x-content-type-options"] = "nosniff"
    response.headers["referrer-policy"] = "no-referrer"
    response.headers.setdefault("cache-control", "no-store")
    return response


class Guard:
    """Turns views into endpoints."""

    def __init__(self, renderer: PageRenderer) -> None:
        self._renderer = renderer

    def page(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a view; what it raises becomes a page."""

        async def endpoint(request: Request) -> Response:
            try:
                response = await view(request, self._renderer)
            except NotFound:
                response = await self._missing(request)
            except BadCursor:
                response = self._lost(request)
            except Busy:
                response = self.error(request, HTTPStatus.SERVICE_UNAVAILABLE)
                response.headers["retry-after"] = "2"
            except HTTPException as error:
                response = self.error(request, error.status_code)
            return protected(request, response)

        return endpoint

    def plain(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that is not a page, with the same headers."""

        async def guarded(request: Request) -> Response:
            return protected(request, await endpoint(request))

        return guarded

    def error(self, request: Request, status: int) -> Response:
        """Return the page of an error."""
        text = TEXTS.get(status, "Something failed here. The console's log says what.")
        return self._error(request, status, HTTPStatus(status).phrase, text)

    async def _missing(self, request: Request) -> Response:
        """Answer for something not found. The page says how far the read model is: it may only be late."""
        as_of = (await reads(request).health()).as_of
        name = " ".join(map(str, request.path_params.values())) or request.query_params.get("id", "")
        phrase, text = "Not here yet, or not at all", "Nothing is known under this name:"
        return self._error(request, 404, phrase, text, as_of=as_of, name=name)

    def _lost(self, request: Request) -> Response:
        others = {name: value for name, value in request.query_params.items() if name not in {"cursor", "back"}}
        text = "The read model was built anew since the link to it was made."
        way_out = "The first page", f"?{urlencode(others)}"
        return self._error(request, 400, "This page of the list is gone", text, way_out=way_out)

    def _error(self, request: Request, status: int, phrase: str, text: str, **more: Any) -> Response:
        """Return an error page. `more`: `as_of` and `name` of something not found, `way_out`: a link's text and URL."""
        context = {"as_of": None, "name": None, "way_out": None, **more}
        return self._renderer.page(request, "error", status=status, code=status, phrase=phrase, text=text, **context)
