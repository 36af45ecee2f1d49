"""Decodes the objects in states and dead letters, with the schemas that the service knows."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from streamproc.codec.book import SchemaBook, SchemaMissing
from streamproc.codec.framing import JSON, confluent, header_of, single_object
from streamproc.codec.objects import object_of
from streamproc.core.model import Run
from streamproc.errors import RecordRejected, RegistryUnavailable, RejectionReason
from streamproc.registry.learner import Learner

METADATA = "metadata"
MAX_VALUE_CHARS = 512


class Unlearned(Exception):
    """Only a registry may know the schema: ask it, then try again."""

    def __init__(self, header: bytes) -> None:
        super().__init__(header)
        self.header = header


class Objects:
    """Decodes objects. `learner` None: no registry is set."""

    def __init__(self, book: SchemaBook, learner: Learner | None, index_metadata: Sequence[str] = ()) -> None:
        self._book = book
        self._learner = learner
        self._index_metadata = index_metadata
        self._unanswered: set[bytes] = set()

    async def ask(self, header: bytes) -> None:
        """Ask the registry for a schema. If it does not answer, metadata with that schema is left out from then on."""
        try:
            if self._learner is not None:
                await self._learner.learn([header])
        except RegistryUnavailable:
            self._unanswered.add(header)

    def metadata(self, run: Run) -> tuple[str | None, ...]:
        """Return the values of the indexed metadata; raises Unlearned."""
        if not self._index_metadata:
            return ()
        header = JSON
        try:
            header = header_named(run.event_schema)
            decoded = object_of(run.event, self._book.find(header))
        except SchemaMissing:
            if header in self._unanswered:
                return tuple(None for _ in self._index_metadata)
            raise Unlearned(header) from None
        except RecordRejected:
            decoded = {}
        metadata = decoded.get(METADATA) if isinstance(decoded, dict) else None
        values = metadata if isinstance(metadata, dict) else {}
        return tuple(_text(values.get(key)) for key in self._index_metadata)

    async def of_event(self, run: Run) -> tuple[Any, str | None]:
        """Return the object of a run's last event and None, or None and why it cannot be decoded."""
        try:
            return await self.decoded(run.event, header_named(run.event_schema))
        except RecordRejected as error:
            return None, str(error)

    async def decoded(self, payload: bytes, header: bytes) -> tuple[Any, str | None]:
        """Do the same for a payload without framing."""
        try:
            with suppress(SchemaMissing):
                return await self._decoded(payload, header), None
            if self._learner is None:
                return None, "its schema is not known here, and no registry is set"
            await self._learner.learn([header])
            return await self._decoded(payload, header), None
        except RegistryUnavailable:
            return None, "the registry does not answer: look again later"
        except (RecordRejected, SchemaMissing) as error:
            return None, str(error)

    async def framed(self, value: bytes | None) -> tuple[Any, str | None]:
        """Do the same for a value that begins with its framing."""
        try:
            header = header_of(value)
        except RecordRejected as error:
            return None, str(error)
        assert value is not None  # noqa: S101  it has a header
        return await self.decoded(value if header == JSON else value[len(header) :], header)

    async def _decoded(self, payload: bytes, header: bytes) -> Any:
        schema = self._book.find(header)
        # In a thread: decoding a megabyte would block the event loop.
        return await asyncio.to_thread(object_of, payload, schema)


def header_named(label: str) -> bytes:
    """Return the framing header for a label in RunState's event_schema; raises RecordRejected."""
    kind, _, name = label.partition(":")
    try:
        if kind == "id":
            return confluent(int(name))
        return single_object(name) if kind == "crc64" else JSON
    except (ValueError, OverflowError):
        raise RecordRejected(RejectionReason.UNKNOWN_SCHEMA, "its event_schema names no schema") from None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:MAX_VALUE_CHARS]
