"""One POST and what became of it. Shows neither what was sent nor what came back, only its status."""

import os
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

from streamproc.errors import ConfigError
from streamproc.notify.config import Endpoint
from streamproc.notify.observer import Result

MAX_ANSWER_BYTES = 65_536
"""Of an answer that nobody needs: read so far, a connection can be used again."""
TRY_AGAIN = frozenset((408, 425, 429))
OK, REDIRECT, SERVER_ERROR = 200, 300, 500


class Outcome(NamedTuple):
    """`status` None: no answer. `why` may be logged. `retry_after_s` is what the receiver asks for."""

    result: Result
    why: str
    status: int | None = None
    retry_after_s: float | None = None


class Client:
    """Posts JSON. Follows no redirect: it would take the alerts, and what logs us in, to somebody else."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._tls = _tls(endpoint.ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": _user_agent(), **_authorization(self._endpoint)},
            timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout_s),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Outcome:
        """Send `body`; raises nothing for whatever a receiver or the network may do."""
        assert self._session is not None  # noqa: S101  it was entered
        try:
            async with self._session.post(
                url, data=body, headers={"content-type": "application/json", **(headers or {})}, allow_redirects=False
            ) as answer:
                outcome = _judge(answer)
                with suppress(aiohttp.ClientError, TimeoutError):
                    await answer.content.read(MAX_ANSWER_BYTES)
                return outcome
        except TimeoutError:
            return Outcome(Result.FAILED, f"no answer within {self._endpoint.timeout_s:g} s")
        except ValueError as error:  # A URL or a header that cannot be sent at all.
            return Outcome(Result.REFUSED, type(error).__name__)
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(Result.FAILED, _why(error))


def _judge(answer: aiohttp.ClientResponse) -> Outcome:
    status = answer.status
    why = f"HTTP status {status}"
    if OK <= status < REDIRECT:
        return Outcome(Result.DELIVERED, why, status)
    if status >= SERVER_ERROR or status in TRY_AGAIN:
        return Outcome(Result.FAILED, why, status, _seconds(answer.headers.get("retry-after", "")))
    return Outcome(Result.REFUSED, why, status)


def _seconds(text: str) -> float | None:
    """Read Retry-After where it is a number; a date is not worth the trouble, the back-off does without."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None  # noqa: PLR2004


def _why(error: BaseException) -> str:
    """Name a failure without its text, which may show the whole URL."""
    cause = getattr(error, "os_error", error)
    number = cause.errno if isinstance(cause, OSError) else None
    # Names that cannot be resolved have negative numbers of their own.
    return f"{type(error).__name__}: {os.strerror(number)}" if number and number > 0 else type(error).__name__


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(
            f"the certificates in {ca_file} cannot be used ({error.strerror or type(error).__name__}): "
            "ca_file of the receiver must name a readable PEM file"
        ) from error


def _authorization(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.bearer_token is not None:
        return {"authorization": f"Bearer {endpoint.bearer_token.get_secret_value()}"}
    if endpoint.username is not None and endpoint.password is not None:
        pair = f"{endpoint.username}:{endpoint.password.get_secret_value()}".encode()
        return {"authorization": f"Basic {b64encode(pair).decode()}"}
    return {}


def _user_agent() -> str:
    try:
        return f"streamproc/{version('streamproc')}"
    except PackageNotFoundError:  # A checkout on the path, not installed.
        return "streamproc"
