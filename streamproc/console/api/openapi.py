"""The OpenAPI description, made from the endpoints and the structs of their answers."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from streamproc.console.access import Security
from streamproc.console.answers.signals import Replay
from streamproc.console.api.endpoints import ENDPOINTS, STREAM, Endpoint
from streamproc.console.api.exports import MEDIA_TYPES
from streamproc.console.api.parameters import PATH, Parameter
from streamproc.console.api.problems import MEDIA_TYPE as PROBLEM
from streamproc.console.api.replaying import ReplayRequest
from streamproc.version import installed

REF = "#/components/schemas/{name}"
PROBLEMS = {
    400: "A parameter is not as it must be.",
    401: "A token is missing.",
    403: "The token has no right to it.",
    404: "Nothing is known of it.",
    409: "It is not as it was when that was confirmed.",
    410: "The cursor is of a read model that was rebuilt, or of another list.",
    429: "Too many requests.",
    503: "Not now: not here yet, being rebuilt, or too much was asked at once.",
    505: "Too old an HTTP: CSV and NDJSON take 1.1.",
}
EVERYWHERE = (401, 403, 429, 503)
ABOUT = (
    "What the output topics of streamproc tell: the latest state of each run, its history, alerts, metrics and "
    "rejected events. Answers say in `as_of` up to which offsets the topics have been read, and "
    "how far behind that is."
)
CONFIRMED = {
    "allOf": [{"$ref": REF.format(name=ReplayRequest.__name__)}],
    "anyOf": [
        {"properties": {"dry_run": {"const": True}}},
        {"properties": {"expected": {"type": "integer"}}, "required": ["expected"]},
    ],
}
"""A request that is not a dry run must contain the confirmed number."""


def description(security: Security, url: str) -> dict[str, Any]:
    """Return the OpenAPI document; `security`: the ways to authenticate, `url`: the prefix of the paths."""
    types = [*(endpoint.answer for endpoint in ENDPOINTS), Replay, ReplayRequest]
    _, schemas = msgspec.json.schema_components(types, ref_template=REF)
    paths = {endpoint.path: {"get": _read(endpoint)} for endpoint in ENDPOINTS}
    paths["/stream"] = {"get": _stream()}
    paths["/dead-letters/replay"] = {"post": _replay()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "streamproc console", "version": installed(), "description": ABOUT},
        "servers": [{"url": url}],
        "security": security,
        "paths": paths,
        "components": {
            "schemas": {**_for_any_tool(schemas), "Problem": _problem()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The token as the password."},
            },
        },
    }


def _read(endpoint: Endpoint) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(endpoint.answer)}}
    if endpoint.is_list:
        content |= {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()}
    return {
        "operationId": re.sub(r"\W+", "_", endpoint.path).strip("_"),
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint.path), *_parameters(endpoint.parameters)],
        "responses": {
            "200": {"description": endpoint.summary, "content": content},
            **_problems(400, 404, 410, *([505] if endpoint.is_list else [])),
        },
    }


def _stream() -> dict[str, Any]:
    about = "Transitions and alerts as they come, as server-sent events; Last-Event-ID resumes behind that event."
    last = {"name": "Last-Event-ID", "in": "header", "description": "The id of an event.", "schema": {"type": "string"}}
    return {
        "operationId": "stream",
        "summary": about,
        "parameters": [*_parameters(STREAM), last],
        "responses": {
            "200": {"description": about, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **_problems(400, 410),
        },
    }


def _replay() -> dict[str, Any]:
    about = "Sends dead letters back, or says what that would do; for operators, where actions are allowed."
    token = {
        "name": "X-CSRF-Token",
        "in": "header",
        "description": "As the pages have it; not with a bearer token.",
        "schema": {"type": "string"},
    }
    return {
        "operationId": "replay",
        "summary": about,
        "parameters": [token],
        "requestBody": {"required": True, "content": {"application/json": {"schema": CONFIRMED}}},
        "responses": {
            "200": {"description": "What it came to.", "content": {"application/json": {"schema": _ref(Replay)}}},
            **_problems(400, 409),
        },
    }


def _problems(*statuses: int) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": REF.format(name="Problem")}}}
    all_statuses = sorted({*statuses, *EVERYWHERE})
    return {str(status): {"description": PROBLEMS[status], "content": content} for status in all_statuses}


def _problem() -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("type", "title", "detail")}
    return {
        "type": "object",
        "description": "What went wrong, and what to do about it (RFC 9457).",
        "properties": {**texts, "status": {"type": "integer"}},
        "required": [*texts, "status"],
    }


def _path_parameters(path: str) -> Sequence[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH[name].description,
            "schema": {**PATH[name].schema(), **({"minLength": 1} if PATH[name].kind == "string" else {})},
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameters(declared: Sequence[Parameter]) -> Sequence[dict[str, Any]]:
    return [
        {"name": parameter.name, "in": "query", "description": parameter.description, "schema": parameter.schema()}
        for parameter in declared
    ]


def _for_any_tool(schema: Any) -> Any:
    """Return a schema with `null` for None, and for tuples `items` instead of `prefixItems`, which few tools read."""
    if isinstance(schema, list):
        return [_for_any_tool(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    keywords = {name: _for_any_tool(part) for name, part in schema.items()}
    if isinstance(about := keywords.get("description"), str):
        keywords["description"] = re.sub(r"\bNone\b", "null", about)
    if parts := keywords.pop("prefixItems", []):
        kinds = [part for number, part in enumerate(parts) if part not in parts[:number]]
        keywords["items"] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return keywords


def _ref(answer: type) -> dict[str, str]:
    return {"$ref": REF.format(name=answer.__name__)}
