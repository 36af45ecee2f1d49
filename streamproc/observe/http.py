"""The HTTP side of metrics and probes: a Starlette application."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamproc.credentials.renewal import Renewed
from streamproc.observe.health import Answer, Health
from streamproc.observe.metrics import MetricsObserver
from streamproc.web.config import HttpSettings
from streamproc.web.limits import InPieces

Token = Callable[[], Awaitable[SecretStr | None]]
"""Returns the token that requests must have, None if they need none."""


def metrics_token(settings: HttpSettings) -> Token:
    """Return the provider of the token in the settings; it follows changes of a file."""
    token = Renewed("http", settings.renewed, lambda it: it.metrics_token, fixed=not settings.secret_files)
    return token.current


async def _none() -> None:
    return None


def application(metrics: MetricsObserver, health: Health, wanted: Token = _none) -> Starlette:
    """Return the application: `/metrics`, `/livez`, `/readyz`, `/startupz`.

    `wanted`: the token that `/metrics` asks for. The probes do not: a kubelet has none, and they say little.
    """

    async def exposition(request: Request) -> Response:
        token = await wanted()
        if token is not None and not _shows(request.headers.get("authorization", ""), token):
            return _JsonLine({"error": "a token is needed"}, 401, headers={"www-authenticate": "Bearer"})
        body, content_type = await metrics.exposition(request.headers.get("accept", ""))
        return InPieces(body, headers={"content-type": content_type})

    app = Starlette(
        routes=[
            Route("/metrics", exposition),
            Route("/livez", _probe(health.livez)),
            Route("/readyz", _probe(health.readyz)),
            Route("/startupz", _probe(health.startupz)),
        ]
    )
    app.router.redirect_slashes = False  # A probe follows no redirect: 404 says at once that the path is wrong.
    return app


def _shows(authorization: str, token: SecretStr) -> bool:
    """Tell whether a header has the token, in a time that does not reveal how much of it is right."""
    scheme, _, shown = authorization.partition(" ")
    is_right = hmac.compare_digest(shown.strip().encode(), token.get_secret_value().encode())
    return scheme.lower() == "bearer" and is_right


def _probe(answer: Callable[[], Answer]) -> Callable[[Request], Awaitable[Response]]:
    async def respond(_: Request) -> Response:
        ok, reason = answer()
        return _JsonLine(reason, status_code=200 if ok else 503, headers={"cache-control": "no-store"})

    return respond


class _JsonLine(JSONResponse):
    """JSON with an end of line: what a terminal shows next stands below it."""

    def render(self, content: Any) -> bytes:
        return super().render(content) + b"\n"
