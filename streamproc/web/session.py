"""HTTP requests to one endpoint. Follows no redirects, keeps no cookies, uses no proxy, decompresses nothing.

Errors say what happened, and never show the URL, the request or the answer.
"""

import os
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

from streamproc.credentials.pem import UNENCRYPTED, KeyPair, Pem, client_context
from streamproc.credentials.renewal import Renewed
from streamproc.web.config import EndpointSettings

MAX_RETRY_AFTER_CHARS = 64


class Unanswered(Exception):
    """No answer came; the text, which may be logged, says why. A retry may succeed."""


class Unsendable(Exception):
    """A URL or a header that cannot be sent at all: no retry will succeed."""


class Response:
    """A status, and a body still to be read.

    `retry_after_s`: from the header Retry-After; `encoding`: the body's content encoding, empty for none.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.retry_after_s = _seconds(response.headers.get("retry-after", ""))
        self.encoding = _encoding(response.headers.get("content-encoding", ""))
        self.is_json = "json" in response.headers.get("content-type", "").lower()
        self._content = response.content

    async def body(self, limit: int) -> bytes | None:
        """Return the whole body, None where it has more than `limit` bytes."""
        body = bytearray()
        while chunk := await self._content.read(limit + 1 - len(body)):
            body += chunk
            if len(body) > limit:
                return None
        return bytes(body)

    async def skim(self, limit: int) -> None:
        """Read up to `limit` bytes of a body that is not needed, so that the connection can be reused."""
        with suppress(aiohttp.ClientError, TimeoutError):
            await self._content.read(limit)


class HttpSession:
    """Sends requests while its context is entered. Credentials in files are read again when the files change."""

    def __init__(self, endpoint: EndpointSettings) -> None:
        """Raise ConfigError where a certificate of `endpoint` cannot be used."""
        self._endpoint = endpoint
        self._login = _renewed(endpoint)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            # identity: otherwise a small body could decompress to a huge one.
            headers={"user-agent": _user_agent(), "accept-encoding": "identity"},
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

    async def settings(self) -> EndpointSettings:
        """Return the endpoint's settings, with the present content of its files."""
        return (await self._login.current()).endpoint

    @asynccontextmanager
    async def request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator[Response]:
        """Send a request; its answer can be read within the block, where reading raises the same errors.

        Raises Unanswered and Unsendable, and nothing else, whatever a server or the network does.
        """
        assert self._session is not None  # noqa: S101  it was entered
        login = await self._login.current()
        try:
            # Not followed: a redirect would send the request, and our credentials, to another server.
            async with self._session.request(
                method, url, data=body, headers={**login.headers, **headers}, allow_redirects=False, ssl=login.tls
            ) as response:
                yield Response(response)
        except TimeoutError:
            raise Unanswered(f"no answer within {self._endpoint.timeout_s:g} s") from None
        except aiohttp.InvalidURL as error:
            raise Unsendable(type(error).__name__) from None
        except (aiohttp.ClientError, OSError) as error:  # Before ValueError: a certificate error is all three.
            raise Unanswered(_why(error)) from None
        except ValueError as error:
            raise Unsendable(type(error).__name__) from None


def _encoding(text: str) -> str:
    plain = text.strip().lower()
    return "" if plain == "identity" else plain


def _seconds(text: str) -> float | None:
    """Read Retry-After, a number of seconds or an HTTP date; None where it is neither."""
    if len(text) > MAX_RETRY_AFTER_CHARS or not text.isascii():
        return None
    if text.isdecimal():
        return float(text) if len(text) <= 6 else None  # noqa: PLR2004
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # The parser raises any of these.
        return None
    # -0000 is UTC, too, from a server that does not know its zone.
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def _why(error: BaseException) -> str:
    """Name a failure without its text, which may show the whole URL."""
    cause = getattr(error, "os_error", error)
    # OpenSSL counts its errors in its own way.
    number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else None
    # Names that cannot be resolved have negative numbers of their own.
    return f"{type(error).__name__}: {os.strerror(number)}" if number and number > 0 else type(error).__name__


class _AuthMaterial(NamedTuple):
    """The files' content that a log-in is made of."""

    endpoint: EndpointSettings
    ca: Pem | None
    certificate: Pem | None
    key: Pem | None


class _RequestAuth(NamedTuple):
    """The TLS context and headers of requests, and the settings that they are made of."""

    endpoint: EndpointSettings
    tls: ssl.SSLContext
    headers: dict[str, str]


def _renewed(endpoint: EndpointSettings) -> Renewed[_AuthMaterial, _RequestAuth]:
    files = (endpoint.ca_file, endpoint.cert_file, endpoint.key_file, *endpoint.secret_files)
    section = type(endpoint).__name__.removesuffix("Settings").lower()
    return Renewed(section, lambda: _read(endpoint), _login, fixed=not any(files))


def _read(endpoint: EndpointSettings) -> _AuthMaterial:
    fresh = endpoint.renewed()
    settings = ("ca_file", fresh.ca_file), ("cert_file", fresh.cert_file), ("key_file", fresh.key_file)
    return _AuthMaterial(fresh, *(Pem.of_file(name, path) if path else None for name, path in settings))


def _login(source: _AuthMaterial) -> _RequestAuth:
    certificate = source.certificate
    identity = None if certificate is None else KeyPair(certificate, source.key, None, UNENCRYPTED)
    return _RequestAuth(source.endpoint, client_context(source.ca, identity), _authorization(source.endpoint))


def _authorization(endpoint: EndpointSettings) -> dict[str, str]:
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
