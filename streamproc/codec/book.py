"""Writer schemas by framing header: those that ship, and those that a registry returned."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from streamproc.codec.framing import CONFLUENT_BYTES, JSON, label
from streamproc.codec.jsonobject import JsonFormat
from streamproc.codec.schemas import WriterSchema
from streamproc.core.shape import Shape
from streamproc.errors import RecordRejected, RejectionReason

MAX_REFUSED = 10_000
"""Limit on refusals remembered: a faulty producer can send any number of ids that do not exist."""
MAX_REASON_CHARS = 1_000
"""Limit on the text of a refusal."""
MAX_LEARNED_BYTES = 4_194_304
"""Limit on the texts of all learned schemas: compiled, a wide schema takes 60 times as much."""


class SchemaMissing(Exception):
    """The book does not know the header, but a registry may: call `learn` or `refuse`, then `find` again."""


class _Learned(NamedTuple):
    schema: WriterSchema
    size: int


class _SchemaRefusal(NamedTuple):
    until: float
    reason: RejectionReason
    text: str


class SchemaBook:
    """Writer schemas by framing header.

    `registered`: whether a registry is asked for ids of the Confluent wire format. The book keeps the most recently
    used of its schemas, at most `max_learned` and MAX_LEARNED_BYTES, and each refusal for `negative_ttl_s` seconds.
    `json`: whether JSON objects are accepted.
    """

    def __init__(
        self,
        schemas: Iterable[WriterSchema],
        shape: Shape,
        *,
        json: bool = True,
        registered: bool = False,
        max_learned: int = 1_000,
        negative_ttl_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shape = shape
        self._bundled = {schema.header: schema for schema in schemas}
        self._json = JsonFormat(shape) if json else None
        self._registered = registered
        self._max_learned = max_learned
        self._negative_ttl_s = negative_ttl_s
        self._clock = clock
        self._learned: OrderedDict[bytes, _Learned] = OrderedDict()
        self._learned_bytes = 0
        self._refused: OrderedDict[bytes, _SchemaRefusal] = OrderedDict()

    def find(self, header: bytes) -> WriterSchema | JsonFormat:
        """Return the schema that `header` points to; raises RecordRejected (`unknown_schema`, ...), SchemaMissing."""
        schema = self._bundled.get(header)
        if schema is not None:
            return schema
        if header == JSON and self._json is not None:
            return self._json
        if not self._registered or len(header) != CONFLUENT_BYTES:
            raise self._unknown(header)
        learned = self._learned.get(header)
        if learned is not None:
            self._learned.move_to_end(header)
            return learned.schema
        if (refusal := self._refused.get(header)) and self._clock() < refusal.until:
            raise RecordRejected(refusal.reason, refusal.text)
        raise SchemaMissing(label(header))

    def learn(self, header: bytes, schema: WriterSchema) -> None:
        """Remember a schema that a registry returned. It is kept even if it alone exceeds MAX_LEARNED_BYTES."""
        self._refused.pop(header, None)
        self._forget(header)
        size = len(json.dumps(schema.document))
        while self._learned and not self._has_room(size):
            self._forget(next(iter(self._learned)))
        self._learned[header] = _Learned(schema, size)
        self._learned_bytes += size

    def _has_room(self, size: int) -> bool:
        return len(self._learned) < self._max_learned and self._learned_bytes + size <= MAX_LEARNED_BYTES

    def _forget(self, header: bytes) -> None:
        learned = self._learned.pop(header, None)
        self._learned_bytes -= 0 if learned is None else learned.size

    def refuse(self, header: bytes, error: RecordRejected) -> None:
        """Remember for a while that records behind `header` cannot be used."""
        # The error itself is not kept: its traceback would keep the schema in memory.
        until, text = self._clock() + self._negative_ttl_s, _cut(str(error))
        self._refused[header] = _SchemaRefusal(until, error.reason, text)
        self._refused.move_to_end(header)
        if len(self._refused) > MAX_REFUSED:
            self._refused.popitem(last=False)

    def _unknown(self, header: bytes) -> RecordRejected:
        if header == JSON:
            return RecordRejected(RejectionReason.UNKNOWN_SCHEMA, "JSON is not taken here: see STREAMPROC_INPUT__JSON")
        if header[:2] + header[:1:-1] in self._bundled:
            why = "but the one with its bytes reversed is: send the fingerprint's lowest byte first"
        elif self._registered:
            why = "and a registry knows no fingerprints: register it and use the Confluent wire format"
        else:
            why = "and no registry is set: `streamproc describe` lists those known, profiles.<name>.schemas adds files"
        return RecordRejected(RejectionReason.UNKNOWN_SCHEMA, f"schema {label(header)} is not known, {why}")

    def __iter__(self) -> Iterator[WriterSchema]:
        """Yield the schemas that ship."""
        return iter(self._bundled.values())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_REASON_CHARS else f"{text[:MAX_REASON_CHARS]}…"
