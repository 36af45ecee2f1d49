"""Sends one request to one URL of the registry, and reads the answer."""

import json
from typing import Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from streamproc.codec.names import shown
from streamproc.errors import ConfigError, RecordRejected, RejectionReason
from streamproc.registry.answers import ErrorBody
from streamproc.section import flaws
from streamproc.web.session import HttpSession, Response, Unanswered, Unsendable

T = TypeVar("T")
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
MAX_BODY_BYTES = 1_048_576
OK, REDIRECT, CLIENT_ERROR, NOT_FOUND = 200, 300, 400, 404
REFUSED = frozenset((409, 422))
NO_SUCH = frozenset((40401, 40402, 40403))
"""No such subject, version, schema."""
SETTING = "STREAMPROC_REGISTRY__"
_LOOK = f"check that it runs, {SETTING}URL and, for https, {SETTING}CA_FILE"
_PROXY = f"a proxy in between must not compress; check {SETTING}URL"
_HINTS = {
    401: f"check {SETTING}USERNAME and {SETTING}PASSWORD, or {SETTING}BEARER_TOKEN",
    403: "these credentials may not do that: check what the registry allows them",
    404: f"that is no registry's answer: check the path in {SETTING}URL (Apicurio: /apis/ccompat/v7)",
}


class Request(NamedTuple, Generic[T]):
    """A request, `about` what in words, and how to read the answer. `body`: JSON; None: a GET.

    `closes`: whether a Retry-After in its answer applies to all requests to the server.
    """

    path: str
    about: str
    answer: TypeAdapter[T]
    body: bytes | None = None
    closes: bool = True


class RequestFailed(Exception):
    """The URL gave no registry's answer; the text, which may be logged, says what to check."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


async def ask(session: HttpSession, base: str, request: Request[T]) -> T | None:
    """Send a request to the registry at `base`; returns None where the registry answers "not found".

    Raises RequestFailed, ConfigError where the registry refuses a schema, RecordRejected where the answer with a schema
    is too large, or flawed.
    """
    headers = {"accept": f"{MEDIA_TYPE}, application/json"} | (
        {} if request.body is None else {"content-type": MEDIA_TYPE}
    )
    method = "GET" if request.body is None else "POST"
    try:
        async with session.request(method, base + request.path, request.body, headers) as answer:
            body = await answer.body(MAX_BODY_BYTES)
    except (Unanswered, Unsendable) as error:
        raise RequestFailed(f"{error}: {_LOOK}") from None
    return _read(request, answer, body)


def _read(request: Request[T], answer: Response, body: bytes | None) -> T | None:
    status = answer.status
    if answer.encoding and (OK <= status < REDIRECT or status == NOT_FOUND):
        # Not unpacked: see `HttpSession`.
        raise RequestFailed(
            f"it answers in content-encoding {shown(answer.encoding)}, which nobody asked for: {_PROXY}"
        )
    if OK <= status < REDIRECT:
        return _content(request, answer, body)
    if status == NOT_FOUND and body is not None and _error_code(body) in NO_SUCH:
        return None
    if status in REFUSED and request.body is not None and body is not None and _error_code(body) is not None:
        raise ConfigError(
            f"the registry refuses {request.about} (HTTP status {status}): it is not compatible with what is "
            f"registered, or may not be changed; see the subject's compatibility and mode, or set {SETTING}OUTPUTS=off"
        )
    raise RequestFailed(f"HTTP status {status}{_hint(status)}", answer.retry_after_s)


def _content(request: Request[T], answer: Response, body: bytes | None) -> T:
    """Read an answer. A schema that is too large or flawed rejects the record: retrying would give the same answer."""
    if body is None and answer.is_json and request.body is None:
        raise RecordRejected(RejectionReason.UNFIT_SCHEMA, f"{request.about} is larger than {MAX_BODY_BYTES:,} bytes")
    try:
        return request.answer.validate_json(body or b"")
    except ValidationError as error:
        flaw = flaws(error)[0]
    if request.body is None and body is not None and _has_schema(body):
        raise RecordRejected(
            RejectionReason.UNFIT_SCHEMA, f"what the registry says about {request.about} has a flaw: {flaw}"
        )
    raise RequestFailed(
        f"what it says about {request.about} is no registry's answer: check that {SETTING}URL leads to a registry"
    )


def _has_schema(body: bytes) -> bool:
    """Tell whether an answer contains a schema, so that it is a registry's. Accepts texts that are not Unicode, too."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("schema"), str)


def _error_code(body: bytes) -> int | None:
    try:
        return ErrorBody.model_validate_json(body).error_code
    except ValidationError:
        return None


def _hint(status: int) -> str:
    if REDIRECT <= status < CLIENT_ERROR:
        return f", a redirect, is not followed: set {SETTING}URL to where the registry itself is"
    return f": {_HINTS[status]}" if status in _HINTS else ""
