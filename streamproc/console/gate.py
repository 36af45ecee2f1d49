"""In front of everything: who asks, how often, and what every answer says to a browser."""

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamproc.console.access import Access, Refused
from streamproc.console.api.problems import problem

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/livez", "/readyz")
REPORTS = "/csp-report"
"""Browsers send these by themselves, without anything of ours; they are only counted."""
PER_SECOND, BURST = 50.0, 300.0
MOST_CALLERS = 10_000
LOG_IN = {"www-authenticate": 'Basic realm="streamproc console", charset="UTF-8"'}


class Gate:
    """Lets requests through that may pass, each with its caller."""

    def __init__(self, app: ASGIApp, access: Access, base_path: str) -> None:
        self._app = app
        self._access = access
        self._base_path = base_path
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("", 0))[0]
        path = scope["path"].removeprefix(self._base_path)
        try:
            if path not in OPEN:
                self._let_in(scope, address, is_report=path == REPORTS)
        except Refused as refused:
            headers = LOG_IN if refused.status == 401 else {}  # noqa: PLR2004
            await problem(refused.status, str(refused), headers)(scope, receive, send)
            return
        if wait_s := self._rates.wait_s(f"{address} {scope.get('state', {}).get('name', '')}"):
            refusal = problem(429, "too many requests: slow down", {"retry-after": str(int(wait_s) + 1)})
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, _guarded(send))

    def _let_in(self, scope: Scope, address: str, *, is_report: bool) -> None:
        headers = Headers(scope=scope)
        caller, is_deliberate = self._access.caller(headers, address)
        scope.setdefault("state", {})["caller"] = caller
        if scope["method"] in SAFE or is_report or is_deliberate:
            return
        if not self._access.allows(caller, headers):
            raise Refused(403, "this was not sent by one of our pages, or by one from before a restart: load it again")


class Rates:
    """How much each caller asks: PER_SECOND in the long run, BURST in one go."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str) -> float:
        """Count a request; return how long to wait before the next one may come, 0 where this one may pass."""
        now = self._clock()
        spent, at = self._spent.pop(caller, (0.0, now))
        spent = max(0.0, spent - (now - at) * PER_SECOND)
        is_over = spent + 1 > BURST
        self._spent[caller] = (spent if is_over else spent + 1, now)
        if len(self._spent) > MOST_CALLERS:
            self._spent.popitem(last=False)
        return (spent + 1 - BURST) / PER_SECOND if is_over else 0.0


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "no-referrer")
            headers.setdefault("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
            headers.setdefault("cross-origin-resource-policy", "same-origin")
        await send(message)

    return guarded
