"""`streamproc send`: run objects in JSON, one a line, to the input; what the service would reject is left."""

import asyncio
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import fastavro
import msgspec

from streamproc.codec.arrival import Framed
from streamproc.codec.jsonobject import JsonFormat
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import RunEvent
from streamproc.core.shape import Shape
from streamproc.errors import RecordRejected
from streamproc.runtime.aio.producer import AioProducer

Encode = Callable[["Line"], tuple[RunEvent, bytes]]
"""Returns what a line says and the value to send; raises RecordRejected."""


class Line(NamedTuple):
    """A line of the input, as the codec takes it: an Arrival. `offset`: its number, from 1 on."""

    offset: int
    timestamp: int
    value: bytes
    key: None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def as_json(shape: Shape) -> Encode:
    """Return what sends objects as they are."""
    format_ = JsonFormat(shape)
    return lambda line: (format_.read(Framed(line, line.value)), line.value)


def as_avro(schema: WriterSchema) -> Encode:
    """Return what writes objects with a schema, in single-object encoding; fields that it lacks are left out."""
    parsed = fastavro.parse_schema(schema.document)  # As it was written: what decoding goes by has no defaults.

    def encode(line: Line) -> tuple[RunEvent, bytes]:
        try:
            found: Any = msgspec.json.decode(line.value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordRejected("undecodable", f"not JSON: {error}") from None
        buffer = BytesIO()
        try:
            fastavro.schemaless_writer(buffer, parsed, found)
        except Exception as error:  # whatever a writer makes of what does not fit; its message shows values
            raise RecordRejected("undecodable", f"it does not fit the schema ({type(error).__name__})") from error
        payload = buffer.getvalue()
        return decode_one(Framed(line, payload), schema), schema.header + payload

    return encode


async def send(producer: AioProducer, source: BinaryIO, encode: Encode, say: Callable[[str], None]) -> tuple[int, int]:
    """Send each line, keyed by its run's id; `say` is told of those that are left. Return how many were sent and left.

    Raises BrokerUnavailable.
    """
    sent = left = number = 0
    while raw := await asyncio.to_thread(source.readline):
        number += 1
        if not raw.strip():
            continue
        line = Line(number, int(time.time() * 1000), raw.strip())
        try:
            event, value = encode(line)
        except RecordRejected as error:
            say(f"line {number} is not sent: {error}")
            left += 1
            continue
        await producer.send(event.run_id.encode(), value, line.timestamp)
        sent += 1
    return sent, left
