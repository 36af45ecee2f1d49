"""A server that plays a schema registry, well or badly."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tests.support.receiver import Behaviour, Got, receiver


def answer(content: Any, status: int = 200, **headers: str) -> Behaviour:
    """Answer with JSON, or with the bytes."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): it for name, it in headers.items()}
    return lambda _: web.Response(body=body, status=status, headers={"content-type": "application/json", **named})


def lacking(code: int = 40403) -> Behaviour:
    """Say no, as a registry does."""
    return answer({"error_code": code, "message": "not found"}, 404)


def reference(subject: str, version: int = 1) -> dict[str, Any]:
    """A reference as it is registered."""
    return {"name": subject, "subject": subject, "version": version}


class Stub:
    """What it knows, by path; `behave` takes the place of all of it. `got`: the requests."""

    def __init__(self, url: str, got: list[Got]) -> None:
        self.url = url
        self.got = got
        self.behave: Behaviour | None = None
        self.known: dict[str, Behaviour] = {}

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [got.raw_path for got in self.got]

    def put(self, schema_id: int, schema: Any, references: Sequence[Any] = (), **more: Any) -> None:
        """Know a schema by its id."""
        self.known[f"/schemas/ids/{schema_id}"] = answer(_schema(schema, references, more))

    def put_version(
        self, subject: str, schema: Any, references: Sequence[Any] = (), version: int = 1, **more: Any
    ) -> None:
        """Know a schema by its subject and version."""
        content = {"subject": subject, "version": version, "id": 1, **_schema(schema, references, more)}
        self.known[f"/subjects/{quote(subject, safe='')}/versions/{version}"] = answer(content)

    def put_places(self, schema_id: int, *places: tuple[str, int]) -> None:
        """Know under which subjects and versions there is an id."""
        content = [{"subject": subject, "version": version} for subject, version in places]
        self.known[f"/schemas/ids/{schema_id}/versions"] = answer(content)

    def handle(self, got: Got) -> Any:
        """Answer a request."""
        known = self.known.get(got.raw_path.partition("?")[0], lacking())
        return (self.behave or known)(got)


def _schema(schema: Any, references: Sequence[Any], more: dict[str, Any]) -> dict[str, Any]:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return {"schema": text, **({"references": list(references)} if references else {}), **more}


@asynccontextmanager
async def stub(tls: SSLContext | None = None) -> AsyncIterator[Stub]:
    """Serve on a free port."""
    async with receiver(tls=tls) as server:
        it = Stub(server.url, server.got)
        server.behave = it.handle
        yield it
