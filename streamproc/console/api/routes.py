"""Requests in, answers out: parameters are read, the read model is asked, errors become problems."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from streamproc.console.answers.common import Answer
from streamproc.console.api.endpoints import ENDPOINTS, STREAM, Call, Endpoint
from streamproc.console.api.exports import MEDIA_TYPES, lines
from streamproc.console.api.openapi import description
from streamproc.console.api.parameters import WrongParameter, read_all
from streamproc.console.api.problems import problem, problem_of, unknown
from streamproc.console.api.replaying import request_in
from streamproc.console.reads import Actions, Event, NotFound, Reads, StreamFilter

PREFIX = "/api/v1"
JSON = "application/json"
MAX_BODY_BYTES = 100_000
NO_STORE = {"cache-control": "no-store"}
HISTORY = "history"

Handler = Callable[[Request], Awaitable[Response]]


def routes() -> Sequence[BaseRoute]:
    """Return the routes below /api/v1; the application's state has `reads` and `actions`, each request its caller."""
    by_path = {endpoint.path: endpoint for endpoint in ENDPOINTS}
    found: list[BaseRoute] = [
        Route(f"{PREFIX}/openapi.json", _handled(_openapi), methods=["GET"]),
        Route(f"{PREFIX}/stream", _handled(_stream), methods=["GET"]),
        Route(f"{PREFIX}/dead-letters/replay", _handled(_replay), methods=["POST"]),
        Route(f"{PREFIX}/dead-letters/{{partition}}/{{offset}}", _handled(_letter(by_path)), methods=["GET"]),
        # An id may hold a slash: it is read from the path as it was sent, where such a one is escaped.
        Route(f"{PREFIX}/runs/{{rest:path}}", _handled(_of_run(by_path)), methods=["GET"]),
    ]
    found += [
        Route(f"{PREFIX}{endpoint.path}", _handled(_plain(endpoint)), methods=["GET"])
        for endpoint in ENDPOINTS
        if "{" not in endpoint.path
    ]
    return found


def run_path(request: Request) -> tuple[str, Sequence[str]]:
    """Return the run id in a path below `runs`, and the parts behind it."""
    raw = request.scope.get("raw_path") or request.url.path.encode()
    parts = raw.decode("ascii", "replace").partition("?")[0].partition("/runs/")[2].split("/")
    return unquote(parts[0], errors="replace"), parts[1:]


def _handled(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except NotFound as error:
            health = await _reads(request).health()
            return unknown(error, health.as_of)
        except Exception as error:  # noqa: BLE001  what is no problem is raised again
            return problem_of(error)

    return handle


def _plain(endpoint: Endpoint) -> Handler:
    async def respond(request: Request) -> Response:
        return await _answered(endpoint, request, {})

    return respond


def _of_run(by_path: Mapping[str, Endpoint]) -> Handler:
    async def respond(request: Request) -> Response:
        run_id, more = run_path(request)
        if not run_id or more not in ([], [HISTORY]):
            return problem(404, "there is /runs/{run_id} and /runs/{run_id}/history; a slash in an id is %2F")
        endpoint = by_path["/runs/{run_id}/history" if more else "/runs/{run_id}"]
        return await _answered(endpoint, request, {"run_id": run_id})

    return respond


def _letter(by_path: Mapping[str, Endpoint]) -> Handler:
    async def respond(request: Request) -> Response:
        names = ("partition", "offset")
        try:
            path = {name: _number(request.path_params[name]) for name in names}
        except ValueError:
            raise WrongParameter("a dead letter is named by partition and offset, two numbers") from None
        return await _answered(by_path["/dead-letters/{partition}/{offset}"], request, path)

    return respond


async def _answered(endpoint: Endpoint, request: Request, path: Mapping[str, Any]) -> Response:
    values = read_all(endpoint.parameters, request.query_params.multi_items())
    call = Call(_reads(request), request.state.caller, values, path)
    answer = await endpoint.ask(call)
    form = values.get("format", "json")
    if form == "json":
        return _json(answer)
    headers = {**NO_STORE, "content-disposition": f'attachment; filename="{endpoint.path.split("/")[-1]}.{form}"'}
    return StreamingResponse(lines(endpoint, call, answer, form), headers=headers, media_type=MEDIA_TYPES[form])


async def _openapi(_: Request) -> Response:
    return Response(msgspec.json.encode(description()), media_type=JSON)


async def _replay(request: Request) -> Response:
    actions: Actions | None = request.app.state.actions
    if actions is None:
        return problem(403, "this console only reads: set STREAMPROC_CONSOLE__ACTIONS=true")
    if not request.state.caller.is_operator:
        return problem(403, "to send dead letters back takes an operator")
    asked = request_in(await _body(request))
    done = await actions.replay(
        request.state.caller.name, asked.wanted, asked.places, dry_run=asked.dry_run, expected=asked.expected
    )
    return _json(done)


async def _stream(request: Request) -> Response:
    values = read_all(STREAM, request.query_params.multi_items())
    wanted = StreamFilter(
        frozenset(values["kind"]),
        frozenset(values["status"]),
        values["assistant"],
        values["model"],
        values["run_id"],
    )
    batches = _reads(request).events(wanted, request.headers.get("last-event-id"))
    # The first of them before the answer begins: what is wrong can still be told.
    first = await anext(batches)
    headers = {**NO_STORE, "x-accel-buffering": "no"}
    return StreamingResponse(_sent(first, batches), headers=headers, media_type="text/event-stream")


async def _sent(first: Sequence[Event], batches: AsyncIterator[Sequence[Event]]) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n" + _events(first)
    # The read model is rebuilt, or the query took too long: the client comes again with the last id.
    with contextlib.suppress(Exception):
        async for batch in batches:
            yield _events(batch)


def _events(batch: Sequence[Event]) -> bytes:
    return b"".join(map(_event, batch)) or b": nothing new\n\n"


def _event(event: Event) -> bytes:
    said = msgspec.json.encode(event._asdict())
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.kind.encode(), event.id.encode(), said)


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise WrongParameter(f"the body has more than {MAX_BODY_BYTES:,} bytes")
    return body


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**53))):
        raise ValueError(text)
    return int(text)


def _json(answer: Answer) -> Response:
    return Response(msgspec.json.encode(answer), headers=NO_STORE, media_type=JSON)


def _reads(request: Request) -> Reads:
    reads: Reads = request.app.state.reads
    return reads
