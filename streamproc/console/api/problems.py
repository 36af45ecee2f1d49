"""Errors as RFC 9457 has them: application/problem+json, which say what to do next."""

import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from streamproc.console.answers.common import AsOf
from streamproc.console.api.parameters import WrongParameter
from streamproc.console.qualifiers import BadQuery
from streamproc.console.reads import BadCursor, Busy, Changed, NotFound
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.escaping import escaped

MEDIA_TYPE = "application/problem+json"
STATUSES: Mapping[type[Exception], HTTPStatus] = {
    WrongParameter: HTTPStatus.BAD_REQUEST,
    BadQuery: HTTPStatus.BAD_REQUEST,
    BadCursor: HTTPStatus.GONE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    Changed: HTTPStatus.CONFLICT,
    ConfigError: HTTPStatus.CONFLICT,
    BrokerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    sqlite3.Error: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_S = 2


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return a problem: its title is that of the status, `more` are members of its own."""
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail, **more}
    sent = {"cache-control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(said), int(status), sent, media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Response:
    """Return the problem that an error is; raises it where it is none that is foreseen."""
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, error.headers)
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    detail = escaped(str(error)) if not isinstance(error, sqlite3.Error) else "the read model is being rebuilt"
    headers = {"retry-after": str(RETRY_S)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    more = {"now": error.now} if isinstance(error, Changed) else {}
    return problem(status, detail, headers, **more)


def unknown(error: NotFound, as_of: AsOf) -> Response:
    """Return the problem about what is not in the read model: it is not there, or only late."""
    named = escaped(str(error))
    if as_of.behind_s:
        detail = f"{named} is not here yet: the read model is {as_of.behind_s:,.0f} s behind"
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": str(RETRY_S)}, as_of=as_of)
    detail = f"nothing is known of {named}: all that Kafka has was read, or it was forgotten"
    return problem(HTTPStatus.NOT_FOUND, detail, as_of=as_of)
