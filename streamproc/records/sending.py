"""`streamproc send`: sends run objects in JSON, one on each line, to the input; skips what the service would reject."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import msgspec

from streamproc.codec.arrival import Bare, Framed
from streamproc.codec.framing import BOM
from streamproc.codec.jsonobject import MAX_DEPTH, JsonFormat, is_deep
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import RunEvent
from streamproc.core.shape import Shape
from streamproc.errors import RecordRejected, RejectionReason
from streamproc.events import AvroEncoder, EventInvalid
from streamproc.runtime.aio.producer import AioProducer

LINES_AHEAD = 1_000
Encode = Callable[[Bare], tuple[RunEvent, bytes]]
"""Returns the event in a line (whose number is its offset), and the value to send; raises RecordRejected."""


def as_json(shape: Shape) -> Encode:
    """Return the encoder that sends objects as they are."""
    format_ = JsonFormat(shape)
    return lambda line: (format_.read(Framed(line, line.value)), line.value)


def as_avro(schema: WriterSchema) -> Encode:
    """Return the encoder for a schema, in single-object encoding; fields that the schema lacks are left out."""
    avro = AvroEncoder(schema.document)

    def encode(line: Bare) -> tuple[RunEvent, bytes]:
        payload = line.value.removeprefix(BOM)
        if is_deep(payload):
            raise RecordRejected(RejectionReason.UNDECODABLE, f"it is nested deeper than {MAX_DEPTH}")
        try:
            fields: Any = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordRejected(RejectionReason.UNDECODABLE, f"not JSON: {error}") from None
        try:
            value = avro(fields)
        except EventInvalid as error:
            raise RecordRejected(RejectionReason.UNDECODABLE, str(error)) from error
        return decode_one(Framed(line, value.removeprefix(schema.header)), schema), value

    return encode


class Counts:
    """How many lines were sent and skipped (`left`) so far, and whether an interrupt came before the end."""

    def __init__(self) -> None:
        self.sent = self.left = 0
        self.interrupted = False


async def send(producer: AioProducer, lines: AsyncIterator[bytes | None], job: "SendOptions", counts: Counts) -> None:
    """Send each line, keyed by its run's id; None is a line that was too long. Raises BrokerUnavailable."""
    number = 0
    async for raw in lines:
        number += 1
        if raw is not None and not raw.strip():
            continue
        try:
            line = Bare(number, int(time.time() * 1000), _stripped(raw, job.most_bytes))
            event, value = job.encode(line)
        except RecordRejected as error:
            job.say(f"line {number} is not sent: {error}")
            counts.left += 1
            continue
        await producer.send(event.run_id.encode(), value, line.timestamp)
        counts.sent += 1


def _stripped(raw: bytes | None, most_bytes: int) -> bytes:
    if raw is None:
        raise RecordRejected(
            RejectionReason.TOO_LARGE, f"it has more than {most_bytes:,} bytes: kafka.max_record_bytes is the limit"
        )
    return raw.strip()


class SendOptions(NamedTuple):
    """Options of sending. `say` gets a message for each line that is skipped; `most_bytes`: the longest line sent."""

    encode: Encode
    say: Callable[[str], None]
    most_bytes: int


async def lines_of(source: BinaryIO, most_bytes: int) -> AsyncIterator[bytes | None]:
    """Yield lines as they come, None for one that is too long.

    A daemon thread reads them, so that an interrupt need not wait for the end of a terminal's input.
    """
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[bytes | None] | None](LINES_AHEAD)

    def read() -> None:
        for raw in _bounded(source, most_bytes):
            asyncio.run_coroutine_threadsafe(queue.put((raw,)), loop).result()
        asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()

    threading.Thread(target=read, daemon=True).start()
    while (item := await queue.get()) is not None:
        yield item[0]


def _bounded(source: BinaryIO, most_bytes: int) -> Iterator[bytes | None]:
    while raw := source.readline(most_bytes + 1):
        if len(raw) <= most_bytes or raw.endswith(b"\n"):
            yield raw
            continue
        while (more := source.readline(most_bytes)) and not more.endswith(b"\n"):
            pass
        yield None
