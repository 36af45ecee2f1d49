"""Browsers' reports of violations of the content security policy: counted, and never shown to anybody."""

import json
from collections import Counter
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.bodies import body_of

MAX_BYTES: Final = 16_384
DIRECTIVES: Final = frozenset(
    [
        "default-src",
        "script-src",
        "script-src-elem",
        "script-src-attr",
        "style-src",
        "style-src-elem",
        "style-src-attr",
        "img-src",
        "font-src",
        "connect-src",
        "form-action",
        "base-uri",
        "frame-ancestors",
    ]
)
"""Only these words of a report are logged: anybody can write the rest."""
MAX_LOGGED: Final = 20


class Reports:
    """Receives reports. `count`: by directive, `other` for unknown ones."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._log = structlog.get_logger(__name__)

    async def receive(self, request: Request) -> Response:
        """Take one report."""
        body = await body_of(request, MAX_BYTES)
        if body is None:
            return Response(status_code=413)
        directive = _directive(body)
        self.count[directive] += 1
        if self.count.total() <= MAX_LOGGED:
            self._log.warning("csp_violation", directive=directive, count=self.count[directive])
        return Response(status_code=204)


def _directive(body: bytes) -> str:
    try:
        report = json.loads(body)["csp-report"]
        directive = report.get("effective-directive") or report.get("violated-directive", "").split(" ")[0]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "other"
    return directive if isinstance(directive, str) and directive in DIRECTIVES else "other"
