"""Resolves a schema id to one self-contained Avro document, with all references inserted."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from streamproc.codec.inline import Uninlinable, inlined
from streamproc.codec.names import shown
from streamproc.errors import ConfigError, RecordRejected, RegistryUnavailable, RejectionReason
from streamproc.registry.answers import AVRO, Reference, Registered
from streamproc.registry.client import RegistryClient

MAX_REFERENCES = 100
MAX_DEPTH = 16
"""Limit on chains of references."""
MAX_TEXT_BYTES = 262_144
"""Limit on the texts of a schema and all its references together."""

NAMING_S = 0.5
"""Limit on the wait for an id's name: its records wait meanwhile."""

Key = tuple[str, int]
Document = dict[str, Any] | list[Any] | RecordRejected | ConfigError
"""A document, which may be a union; RecordRejected: the schema cannot be used; ConfigError: it is not available."""


class Resolved(NamedTuple):
    """A document, and its origin in words: `id 17 (run-events-value version 3)`."""

    document: dict[str, Any] | list[Any]
    where: str


class _UnusableSchema(Exception):
    """The schema cannot be used; the text says why."""


async def resolve(client: RegistryClient, schema_id: int) -> Resolved:
    """Return the document of an id.

    Raises RecordRejected (`unknown_schema`, `unfit_schema`), and RegistryUnavailable.
    """
    schema = await client.schema_by_id(schema_id)
    if schema is None:
        raise RecordRejected(
            RejectionReason.UNKNOWN_SCHEMA,
            f"id {schema_id} is not known to the registry: register it, "
            "then `streamproc dlq replay --reason unknown_schema`",
        )
    where = await _where(client, schema_id)
    return Resolved(await _document(client, schema, where), where)


async def documents_of(
    client: RegistryClient, subjects: Sequence[str], version: int | Literal["latest"]
) -> dict[str, Document]:
    """Return each subject's schema as one document, or the error: it cannot be used, or is not available."""
    # Concurrently, so that a registry that does not answer costs the time-out only once.
    documents = await asyncio.gather(*(_document_of(client, subject, version) for subject in subjects))
    return dict(zip(subjects, documents, strict=True))


async def _document_of(client: RegistryClient, subject: str, version: int | Literal["latest"]) -> Document:
    name = f"{shown(subject)} version {version}"
    try:
        schema = await client.subject_version(subject, version)
        return ConfigError(f"the registry knows no {name}") if schema is None else await _document(client, schema, name)
    except RecordRejected as error:
        return error
    except RegistryUnavailable as error:
        return ConfigError(str(error))


async def _document(client: RegistryClient, schema: Registered, where: str) -> dict[str, Any] | list[Any]:
    """Return a schema with its references inserted; raises RecordRejected (`unfit_schema`), RegistryUnavailable."""
    try:
        gathered = _References(client)
        main = gathered.parse(schema, "it")
        await gathered.fetch(schema, ())
        # In a thread: a large schema would block the event loop for too long.
        parts = list(gathered.documents.values())
        document = await asyncio.to_thread(inlined, main, parts) if schema.references else main
    except (_UnusableSchema, Uninlinable) as error:
        raise RecordRejected(RejectionReason.UNFIT_SCHEMA, f"the schema of {where} cannot be used: {error}") from None
    if document == [] or not isinstance(document, dict | list):
        raise RecordRejected(RejectionReason.UNFIT_SCHEMA, f"the schema of {where} cannot be used: it is no record")
    return document


async def _where(client: RegistryClient, schema_id: int) -> str:
    """Return an id's name for people; without the subject where the registry does not answer in time."""
    try:
        async with asyncio.timeout(NAMING_S):
            places = await client.versions_of(schema_id)
    except (RegistryUnavailable, RecordRejected, TimeoutError):
        places = []
    if not places:
        return f"id {schema_id}"
    (subject, version), others = places[0], len(places) - 1
    return f"id {schema_id} ({shown(subject)} version {version}{f' and {others} more' if others else ''})"


class _References:
    """The references of one schema, each fetched once, within limits. `documents`: parsed, in the order of use."""

    def __init__(self, client: RegistryClient) -> None:
        self.documents: dict[Key, Any] = {}
        self._client = client
        self._bytes = 0

    def parse(self, schema: Registered, name: str) -> Any:
        """Return a schema's JSON; raises _UnusableSchema."""
        if schema.kind != AVRO:
            raise _UnusableSchema(f"{name} is of type {shown(schema.kind)}, not {AVRO}")
        self._bytes += len(schema.text.encode(errors="replace"))
        if self._bytes > MAX_TEXT_BYTES:
            raise _UnusableSchema(f"with its references it is larger than {MAX_TEXT_BYTES:,} bytes")
        try:
            return json.loads(schema.text)
        except RecursionError:
            raise _UnusableSchema(f"{name} is nested too deeply") from None
        except ValueError:
            raise _UnusableSchema(f"{name} is no JSON") from None

    async def fetch(self, schema: Registered, above: tuple[Key, ...]) -> None:
        """Fetch a schema's references, recursively; `above`: the chain of references to it. Raises _UnusableSchema."""
        for reference in schema.references:
            key, name = (reference.subject, reference.version), _named(reference)
            if key in above:
                raise _UnusableSchema(f"its references come back to {name}")
            if key in self.documents:
                continue
            if len(above) >= MAX_DEPTH or len(self.documents) >= MAX_REFERENCES:
                raise _UnusableSchema(
                    f"it has more than {MAX_REFERENCES} references, or more than {MAX_DEPTH} one behind the other"
                )
            referenced = await self._fetch_one(key)
            if referenced is None:
                raise _UnusableSchema(f"it refers to {name}, which the registry does not have")
            self.documents[key] = self.parse(referenced, name)
            await self.fetch(referenced, (*above, key))

    async def _fetch_one(self, key: Key) -> Registered | None:
        try:
            return await self._client.subject_version(*key)
        except RecordRejected as error:
            raise _UnusableSchema(f"it refers to what cannot be read: {error}") from None


def _named(reference: Reference) -> str:
    return f"{shown(reference.subject)} version {reference.version}"
