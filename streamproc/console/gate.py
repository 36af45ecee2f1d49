"""The outermost layer: admits callers, limits their rate, adds security headers, and answers unexpected errors."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamproc.console.access import FORBIDDEN, UNAUTHORIZED, Access, AccessRefused
from streamproc.console.api.problems import problem, unforeseen

SAFE = ("GET", "HEAD", "OPTIONS")
PROBES = ("/livez", "/readyz")
METRICS = "/metrics"
"""Prometheus usually has no token: it is admitted like a probe, but its rate is limited like everybody's."""
REPORTS = "/csp-report"
"""Browsers send these by themselves, without a CSRF token; they are only counted."""
PER_SECOND, BURST = 50.0, 300.0
MOST_CALLERS = 10_000
LOG_IN = {"www-authenticate": 'Basic realm="streamproc console", charset="UTF-8"'}
DEFAULT_HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers for answers that do not set them."""

log = structlog.get_logger(__name__)


def probes(base_path: str) -> frozenset[str]:
    """Return the paths of the probes."""
    return frozenset(base_path + path for path in PROBES)


class AccessGate:
    """Passes admitted requests on, each with its caller."""

    def __init__(
        self, app: ASGIApp, access: Access, base_path: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._access = access
        self._base_path = base_path
        self._rates = Rates(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _WithHeaders(send)
        try:
            await (self._refusal(scope) or self._app)(scope, receive, answer)
        except ClientDisconnect:
            log.info("a client left before its request was whole", path=scope["path"][:200])
        except Exception:
            log.exception("a request failed", method=scope["method"], path=scope["path"][:200])
            if not answer.has_begun:
                await unforeseen()(scope, receive, answer)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the refusal of a request, None where it may pass. Counts it, and stores its caller in the scope."""
        if scope["path"].removeprefix(self._base_path) in PROBES:
            return None
        address, name = (scope.get("client") or ("", 0))[0], ""
        refusal: ASGIApp | None = None
        try:
            name = self._let_in(scope, address)
        except AccessRefused as refused:
            headers = LOG_IN if refused.status == UNAUTHORIZED else {}
            refusal = problem(refused.status, str(refused), headers)
        # By name, too: behind a proxy all callers have one address. Refused callers must not use up others' rate.
        if wait_s := self._rates.wait_s((address, name)):
            return problem(429, "too many requests: slow down", {"retry-after": str(int(wait_s) + 1)})
        return refusal

    def _let_in(self, scope: Scope, address: str) -> str:
        path, headers = scope["path"].removeprefix(self._base_path), Headers(scope=scope)
        if path == METRICS:
            self._access.admit_scraper(headers)
            return ""
        caller, is_deliberate = self._access.caller(headers, address)
        scope.setdefault("state", {})["caller"] = caller
        is_harmless = scope["method"] in SAFE or path == REPORTS
        if not (is_harmless or is_deliberate or self._access.allows(caller, headers)):
            raise AccessRefused(
                FORBIDDEN, "this was not sent by one of our pages, or by one from before a restart: load it again"
            )
        return caller.name


class Rates:
    """Limits each caller's requests: PER_SECOND on average, BURST at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spent: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: tuple[str, str]) -> float:
        """Count a request; return 0 where it may pass, else how many seconds the caller has to wait."""
        clock_s = self._clock()
        spent, at = self._spent.pop(caller, (0.0, clock_s))
        spent = max(0.0, spent - (clock_s - at) * PER_SECOND)
        is_over = spent + 1 > BURST
        self._spent[caller] = (spent if is_over else spent + 1, clock_s)
        if len(self._spent) > MOST_CALLERS:
            self._spent.popitem(last=False)
        return (spent + 1 - BURST) / PER_SECOND if is_over else 0.0


class _WithHeaders:
    """Sends an answer on with default headers added. `has_begun`: its status was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in DEFAULT_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
