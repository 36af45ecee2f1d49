"""Errors as application/problem+json (RFC 9457), which say what to do next."""

import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.answers.common import AsOf
from streamproc.console.api.parameters import WrongParameter
from streamproc.console.qualifiers import BadQuery
from streamproc.console.reads import BadCursor, Busy, Changed, NotFound
from streamproc.errors import ConfigError, StreamprocError
from streamproc.escaping import escaped

MEDIA_TYPE = "application/problem+json"
STATUSES: Mapping[type[Exception], HTTPStatus] = {
    WrongParameter: HTTPStatus.BAD_REQUEST,
    BadQuery: HTTPStatus.BAD_REQUEST,
    BadCursor: HTTPStatus.GONE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    Changed: HTTPStatus.CONFLICT,
    ConfigError: HTTPStatus.CONFLICT,
    StreamprocError: HTTPStatus.SERVICE_UNAVAILABLE,
    sqlite3.Error: HTTPStatus.SERVICE_UNAVAILABLE,
}
RETRY_S = 2


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return a problem document; its title is the status phrase, `more` has additional members."""
    members = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        **more,
    }
    sent = {"cache-control": "no-store", **(headers or {})}
    return Response(msgspec.json.encode(members), int(status), sent, media_type=MEDIA_TYPE)


def status_of(error: Exception) -> HTTPStatus | None:
    """Return the HTTP status of an expected error, None for any other."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), None)


def problem_of(error: Exception) -> Response:
    """Return the problem document of an expected error; raises any other again."""
    status = status_of(error)
    if status is None:
        raise error
    detail = escaped(str(error)) if not isinstance(error, sqlite3.Error) else "the read model is being rebuilt"
    headers = {"retry-after": str(RETRY_S)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    more = {"now": error.now} if isinstance(error, Changed) else {}
    return problem(status, detail, headers, **more)


def failed(request: Request, error: HTTPException) -> Response:
    """Return the answer for a path or a method that does not exist; OPTIONS gets the methods of the path."""
    headers = {**(error.headers or {})}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted({*headers.pop("Allow", "").split(", "), "OPTIONS"} - {""}))
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"allow": allowed})
        return problem(error.status_code, f"{request.method} is not for this path: {allowed}", {"allow": allowed})
    return problem(error.status_code, "there is no such path: openapi.json says which there are", headers)


def unforeseen() -> Response:
    """Return the problem of an unexpected error; only the log has the details."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something failed here: the console's log says what")


def unknown(error: NotFound, as_of: AsOf) -> Response:
    """Return the problem for something that is not in the read model: it does not exist, or was not read yet."""
    named = escaped(str(error)) or "this"
    if as_of.behind_s:
        detail = f"{named} is not here yet: the read model is {as_of.behind_s:,.0f} s behind"
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": str(RETRY_S)}, as_of=as_of)
    detail = f"nothing is known of {named}: all that Kafka has was read, or it was forgotten"
    return problem(HTTPStatus.NOT_FOUND, detail, as_of=as_of)
