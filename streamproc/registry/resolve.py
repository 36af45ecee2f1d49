"""A schema id → one Avro document that needs no other, whatever references it was registered with."""

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
"""Of references that refer to others."""
MAX_TEXT_BYTES = 262_144
"""Of a schema's text and those of all its references."""

NAMING_S = 0.5
"""How long is waited for an id's name: everybody behind it waits, too."""

Key = tuple[str, int]
Document = dict[str, Any] | list[Any] | RecordRejected | ConfigError
"""A document, which may be a union; that the schema can be no document; or that the schema is not to be had."""


class Resolved(NamedTuple):
    """A document, and where it is from in words: `id 17 (run-events-value version 3)`."""

    document: dict[str, Any] | list[Any]
    where: str


class _UnusableSchema(Exception):
    """The schema cannot be used, whoever asks; the text says why."""


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
    """Return each subject's schema as one document, what is wrong with it, or why there is none to be had."""
    # Side by side: a registry that does not answer is waited for once.
    found = await asyncio.gather(*(_document_of(client, subject, version) for subject in subjects))
    return dict(zip(subjects, found, strict=True))


async def _document_of(client: RegistryClient, subject: str, version: int | Literal["latest"]) -> Document:
    where = f"{shown(subject)} version {version}"
    try:
        found = await client.subject_version(subject, version)
        return ConfigError(f"the registry knows no {where}") if found is None else await _document(client, found, where)
    except RecordRejected as error:
        return error
    except RegistryUnavailable as error:
        return ConfigError(str(error))


async def _document(client: RegistryClient, schema: Registered, where: str) -> dict[str, Any] | list[Any]:
    """Return a schema with what it refers to put in; raises RecordRejected (`unfit_schema`), RegistryUnavailable."""
    try:
        gathered = _References(client)
        main = gathered.parse(schema, "it")
        await gathered.fetch(schema, ())
        # In a thread, so that the loop goes on: a large one is walked for longer than it may stand still.
        parts = list(gathered.documents.values())
        document = await asyncio.to_thread(inlined, main, parts) if schema.references else main
    except (_UnusableSchema, Uninlinable) as error:
        raise RecordRejected(RejectionReason.UNFIT_SCHEMA, f"the schema of {where} cannot be used: {error}") from None
    if document == [] or not isinstance(document, dict | list):
        raise RecordRejected(RejectionReason.UNFIT_SCHEMA, f"the schema of {where} cannot be used: it is no record")
    return document


async def _where(client: RegistryClient, schema_id: int) -> str:
    """Name an id for people; without its subject where the registry does not tell."""
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
    """The references of one schema, each fetched once, within bounds. `documents`: parsed, as they are needed."""

    def __init__(self, client: RegistryClient) -> None:
        self.documents: dict[Key, Any] = {}
        self._client = client
        self._bytes = 0

    def parse(self, schema: Registered, what: str) -> Any:
        """Return a schema's JSON; raises _Unfit."""
        if schema.kind != AVRO:
            raise _UnusableSchema(f"{what} is of type {shown(schema.kind)}, not {AVRO}")
        self._bytes += len(schema.text.encode(errors="replace"))
        if self._bytes > MAX_TEXT_BYTES:
            raise _UnusableSchema(f"with its references it is larger than {MAX_TEXT_BYTES:,} bytes")
        try:
            return json.loads(schema.text)
        except RecursionError:
            raise _UnusableSchema(f"{what} is nested too deeply") from None
        except ValueError:
            raise _UnusableSchema(f"{what} is no JSON") from None

    async def fetch(self, schema: Registered, above: tuple[Key, ...]) -> None:
        """Fetch what a schema refers to; `above` are those that it is referred to by. Raises _Unfit."""
        for reference in schema.references:
            key, what = (reference.subject, reference.version), _named(reference)
            if key in above:
                raise _UnusableSchema(f"its references come back to {what}")
            if key in self.documents:
                continue
            if len(above) >= MAX_DEPTH or len(self.documents) >= MAX_REFERENCES:
                raise _UnusableSchema(
                    f"it has more than {MAX_REFERENCES} references, or more than {MAX_DEPTH} one behind the other"
                )
            found = await self._fetch_one(key)
            if found is None:
                raise _UnusableSchema(f"it refers to {what}, which the registry does not have")
            self.documents[key] = self.parse(found, what)
            await self.fetch(found, (*above, key))

    async def _fetch_one(self, key: Key) -> Registered | None:
        try:
            return await self._client.subject_version(*key)
        except RecordRejected as error:
            raise _UnusableSchema(f"it refers to what cannot be read: {error}") from None


def _named(reference: Reference) -> str:
    return f"{shown(reference.subject)} version {reference.version}"
