"""The HTTP routes: they read the parameters, query the read model, and turn errors into problem documents."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streamproc.console.access import Security
from streamproc.console.answers.common import Answer
from streamproc.console.api.endpoints import ENDPOINTS, STREAM, Call, Endpoint
from streamproc.console.api.exports import MEDIA_TYPES, lines
from streamproc.console.api.openapi import description
from streamproc.console.api.parameters import PATH, WrongParameter, read_all
from streamproc.console.api.problems import problem, problem_of, unknown
from streamproc.console.api.replaying import request_in
from streamproc.console.api.sending import LongAnswer, Slots
from streamproc.console.api.streaming import sent
from streamproc.console.bodies import body_of
from streamproc.console.reads import Actions, NotFound, Reads, StreamFilter
from streamproc.console.wholepath import RUN

PREFIX = "/api/v1"
JSON = "application/json"
MAX_BODY_BYTES = 100_000
NO_STORE = {"cache-control": "no-store"}
HISTORY = "history"
LETTER = "/dead-letters/{partition}/{offset}"
MOST_STREAMS, MOST_EXPORTS = 50, 4

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """The routes below /api/v1. The application's state has `reads` and `actions`, each request's state its caller.

    `security`: the ways to authenticate, in OpenAPI's form.
    """

    def __init__(self, security: Security, base_path: str) -> None:
        self._description = msgspec.json.encode(description(security, f"{base_path}{PREFIX}"))
        self._by_path = {endpoint.path: endpoint for endpoint in ENDPOINTS}
        self._streams = Slots(MOST_STREAMS, "streams")
        self._exports = Slots(MOST_EXPORTS, "exports")

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        routes: list[BaseRoute] = [
            _route("/openapi.json", self._openapi),
            _route("/stream", self._stream),
            _route("/dead-letters/replay", _replay, "POST"),
            _route(LETTER, self._letter),
            # An id may contain a slash: it is read from the raw path, where a slash in an id is escaped.
            _route(f"/runs/{RUN}", self._of_run),
        ]
        return routes + [
            _route(endpoint.path, self._plain(endpoint)) for endpoint in ENDPOINTS if "{" not in endpoint.path
        ]

    def _plain(self, endpoint: Endpoint) -> Handler:
        async def respond(request: Request) -> Response:
            return await self._answered(endpoint, request, {})

        return respond

    async def _of_run(self, request: Request) -> Response:
        run_id, more = run_path(request)
        if not run_id or more not in ([], [HISTORY]):
            return problem(404, "there is /runs/{run_id} and /runs/{run_id}/history; a slash in an id is %2F")
        endpoint = self._by_path["/runs/{run_id}/history" if more else "/runs/{run_id}"]
        return await self._answered(endpoint, request, {"run_id": run_id})

    async def _letter(self, request: Request) -> Response:
        return await self._answered(self._by_path[LETTER], request, request.path_params)

    async def _answered(self, endpoint: Endpoint, request: Request, path: Mapping[str, str]) -> Response:
        names = {name: PATH[name].read([text]) for name, text in path.items()}
        values = read_all(endpoint.parameters, request.query_params.multi_items())
        call = Call(_reads(request), request.state.caller, values, names)
        form = values.get("format", "json")
        if form == "json":
            return _json(await endpoint.ask(call))
        if request.scope["http_version"] == "1.0":
            return problem(505, f"{form} takes HTTP/1.1: in 1.0 an answer that is cut short looks whole")
        async with AsyncExitStack() as stack:
            stack.enter_context(self._exports.occupied())
            # The first page is read before the answer begins, while an error can still become its status.
            chunks = lines(endpoint, call, await endpoint.ask(call), form)
            name = f'attachment; filename="{endpoint.path.split("/")[-1]}.{form}"'
            headers = {**NO_STORE, "content-disposition": name}
            return LongAnswer(chunks, stack.pop_all(), headers, MEDIA_TYPES[form])

    async def _openapi(self, _: Request) -> Response:
        return Response(self._description, media_type=JSON)

    async def _stream(self, request: Request) -> Response:
        values = read_all(STREAM, request.query_params.multi_items())
        wanted = StreamFilter(
            frozenset(values["kind"]),
            frozenset(values["status"]),
            values["assistant"],
            values["model"],
            values["run_id"],
        )
        async with AsyncExitStack() as stack:
            stack.enter_context(self._streams.occupied())
            batches = _reads(request).events(wanted, request.headers.get("last-event-id"))
            await stack.enter_async_context(aclosing(batches))  # type: ignore[type-var]
            first = await anext(batches)
            headers = {**NO_STORE, "x-accel-buffering": "no"}
            return LongAnswer(sent(first, batches), stack.pop_all(), headers, "text/event-stream")


def run_path(request: Request) -> tuple[str, Sequence[str]]:
    """Return the run id in a path below `runs`, and the parts behind it."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    sent_as = raw.decode("ascii", "replace").removeprefix(request.scope.get("root_path", ""))
    parts = sent_as.removeprefix(f"{PREFIX}/runs/").split("/") if sent_as.startswith(f"{PREFIX}/runs/") else [""]
    return unquote(parts[0], errors="replace"), parts[1:]


def _route(path: str, handler: Handler, method: str = "GET") -> Route:
    async def handle(request: Request) -> Response:
        try:
            try:
                return await handler(request)
            except NotFound as error:
                return unknown(error, (await _reads(request).health()).as_of)
        except Exception as error:  # noqa: BLE001  unexpected errors are raised again
            return problem_of(error)

    return Route(f"{PREFIX}{path}", handle, methods=[method])


async def _replay(request: Request) -> Response:
    actions: Actions | None = request.app.state.actions
    if actions is None:
        return problem(403, "this console only reads: set STREAMPROC_CONSOLE__ACTIONS=true")
    if not request.state.caller.is_operator:
        return problem(403, "to send dead letters back takes an operator")
    read_all((), request.query_params.multi_items())
    body = await body_of(request, MAX_BODY_BYTES)
    if body is None:
        raise WrongParameter(f"the body has more than {MAX_BODY_BYTES:,} bytes")
    replay = request_in(body)
    answer = await actions.replay(
        request.state.caller.name, replay.wanted, replay.places, dry_run=replay.dry_run, expected=replay.expected
    )
    return _json(answer)


def _json(answer: Answer) -> Response:
    return Response(msgspec.json.encode(answer), headers=NO_STORE, media_type=JSON)


def _reads(request: Request) -> Reads:
    reads: Reads = request.app.state.reads
    return reads
