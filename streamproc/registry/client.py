"""A client of a schema registry with Confluent's API, at one or several URLs.

Any answer that does not come from a registry means RegistryUnavailable. "Not found" counts only if the registry itself
says so at all URLs, because a follower may lag behind a leader that does not answer.
"""

import json
import time
from collections.abc import Callable
from typing import Literal, TypeVar
from urllib.parse import quote

from streamproc.codec.names import shown
from streamproc.errors import ConfigError, RecordRejected, RegistryUnavailable
from streamproc.registry.answers import Registered, identified, places, registered
from streamproc.registry.config import RegistrySettings
from streamproc.registry.observer import SILENT, RegistryObserver, RequestResult
from streamproc.registry.requests import Request, RequestFailed, ask
from streamproc.web.config import origin
from streamproc.web.session import HttpSession

T = TypeVar("T")
MAX_RETRY_AFTER_S = 60.0
"""A longer Retry-After is not respected, because partitions wait for the answer."""


class RegistryClient(HttpSession):
    """Asks the registry at `settings.url`, which must be set. `clock`: seconds, never going back."""

    def __init__(
        self,
        settings: RegistrySettings,
        observer: RegistryObserver = SILENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raise ConfigError where a certificate of the settings cannot be used."""
        super().__init__(settings)
        self._bases = settings.url
        self._first = 0
        self._not_before = dict.fromkeys(settings.url, 0.0)
        self._observer = observer
        self._clock = clock

    async def schema_by_id(self, schema_id: int) -> Registered | None:
        """Return a schema, None where the id is not known.

        Raises RegistryUnavailable, as every method; RecordRejected (`unfit_schema`) for a schema that is too large.
        """
        return await self._ask(Request(f"/schemas/ids/{schema_id}", f"id {schema_id}", registered))

    async def versions_of(self, schema_id: int) -> list[tuple[str, int]]:
        """Return the subjects and versions under which an id is known."""
        path, about = f"/schemas/ids/{schema_id}/versions", f"the versions of id {schema_id}"
        # It only gives a nicer name, so a Retry-After here must not block requests for schemas.
        request = Request(path, about, places, closes=False)
        return [(place.subject, place.version) for place in await self._ask(request) or ()]

    async def subject_version(self, subject: str, version: int | Literal["latest"]) -> Registered | None:
        """Return a subject's schema, None where there is no such subject or version."""
        if not _is_sayable(subject):
            return None
        path, about = f"{_path(subject)}/versions/{version}", f"{shown(subject)} version {version}"
        return await self._ask(Request(path, about, registered))

    async def register(self, subject: str, text: str) -> int:
        """Register a schema if it is not registered yet; return its id. Raises ConfigError where it is refused."""
        request = Request(f"{_path(subject)}/versions", f"the schema of {shown(subject)}", identified, _body(text))
        if (registered_as := await self._ask(request)) is None:
            raise RegistryUnavailable(f"the registry has no place for {shown(subject)}: check STREAMPROC_REGISTRY__URL")
        return registered_as.id

    async def lookup(self, subject: str, text: str) -> int | None:
        """Return the id of a schema in a subject, None where it is not registered, as written or normalized."""
        away: RegistryUnavailable | None = None
        for query in ("", "?normalize=true"):
            path, about = _path(subject) + query, f"the schema of {shown(subject)}"
            try:
                if registered_as := await self._ask(Request(path, about, identified, _body(text))):
                    return registered_as.id
            except RegistryUnavailable as error:  # The normalized look-up may still find it.
                away = error
        if away is not None:
            raise away
        return None

    async def _ask(self, request: Request[T]) -> T | None:
        """Try one URL after the other, beginning with the one that answered last."""
        failures: list[tuple[str, RequestFailed]] = []
        lacking: list[int] = []
        for number in self._order():
            try:
                answer = await self._ask_at(number, request)
            except RequestFailed as failure:
                failures.append((origin(self._bases[number]), failure))
                continue
            if answer is not None:
                self._first = number
                return answer
            lacking.append(number)
        if lacking:
            self._first = lacking[0]
        if failures:
            # A URL that failed may know what the others do not have yet, so "not found" is not final.
            raise _unavailable(request.about, [origin(self._bases[number]) for number in lacking], failures)
        return None

    def _order(self) -> list[int]:
        return [(self._first + step) % len(self._bases) for step in range(len(self._bases))]

    async def _ask_at(self, number: int, request: Request[T]) -> T | None:
        base = self._bases[number]
        if (wait_s := self._not_before[base] - self._clock()) > 0:
            raise RequestFailed(f"it asked to be left alone for another {wait_s:.0f} s", wait_s)
        try:
            answer = await ask(self, base, request)
        except RequestFailed as failure:
            self._observer.requested(RequestResult.FAILED)
            if failure.retry_after_s is not None and request.closes:
                self._not_before[base] = self._clock() + min(failure.retry_after_s, MAX_RETRY_AFTER_S)
            raise
        except (ConfigError, RecordRejected):
            self._observer.requested(RequestResult.FAILED)
            raise
        self._observer.requested(RequestResult.NOT_FOUND if answer is None else RequestResult.FOUND)
        return answer


def _is_sayable(subject: str) -> bool:
    """Tell whether a URL can contain a subject: not one of dots only, nor one with bytes that are not UTF-8."""
    try:
        subject.encode()
    except UnicodeEncodeError:
        return False
    return bool(subject.strip("."))


def _path(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _body(text: str) -> bytes:
    return json.dumps({"schema": text}).encode()


def _unavailable(about: str, lacking: list[str], failures: list[tuple[str, RequestFailed]]) -> RegistryUnavailable:
    """Combine all failures into one error; its wait is the shortest that any of the URLs asked for."""
    waits = [min(failure.retry_after_s or 0.0, MAX_RETRY_AFTER_S) for _, failure in failures]
    reasons = "; ".join(
        [*(f"{url} says there is none" for url in lacking), *(f"{url}: {failure}" for url, failure in failures)]
    )
    return RegistryUnavailable(f"the schema registry does not say what {about} is: {reasons}", min(waits) or None)
