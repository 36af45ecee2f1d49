"""Public: run events for streamproc, made and sent by a producer in Python.

    async with RunProducer(bootstrap_servers="localhost:9092") as runs:
        await runs.send({"id": "run_1", "status": "queued", "assistant_id": "triage"})

What is public here keeps its meaning until the next major version.
"""

import json
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import fastavro
from pydantic import ValidationError

from streamproc.codec.framing import confluent
from streamproc.codec.schemas import Schema, load
from streamproc.codec.values import usage
from streamproc.errors import BrokerUnavailable, ConfigError, StreamprocError
from streamproc.runtime.aio.producer import AioProducer
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import TOKENS
from streamproc.section import flaws
from streamproc.tokens.source import source_of

__all__ = ["AvroEncoder", "BrokerUnavailable", "ConfigError", "Encode", "EventInvalid", "RunProducer", "encode_json"]

LATEST = "run_object_v2_1"
Run = Mapping[str, Any]
"""A run object with the field names of its schema or profile: at least `id` and `status`."""
Encode = Callable[[Run], bytes]
"""Returns the value of a record; raises EventInvalid."""


class EventInvalid(StreamprocError, ValueError):
    """A run object that cannot be sent. The text names the field and never shows a value."""


def encode_json(run: Run) -> bytes:
    """Return a run object as JSON, which a service takes unless `input.json` is off; raises EventInvalid."""
    try:
        return json.dumps(run, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EventInvalid(f"the run object is no JSON ({type(error).__name__})") from None


class AvroEncoder:
    """Encodes run objects with one schema: in single-object encoding, or in the Confluent wire format.

    `schema`: the name of a schema that ships with streamproc, or a document of your own as `json.load` returns it.
    `schema_id`: the id that a registry gave to the schema; with it, the Confluent wire format is used. Fields that the
    schema lacks are left out; fields without a default in the schema are required. Raises ConfigError for a schema that
    does not exist.
    """

    def __init__(self, schema: str | Mapping[str, Any] = LATEST, *, schema_id: int | None = None) -> None:
        resolved = load(schema) if isinstance(schema, str) else Schema(schema)
        self.document: Any = resolved.document
        """The schema document, as a registry takes it."""
        self.header = resolved.header if schema_id is None else confluent(schema_id)
        self._parsed = fastavro.parse_schema(resolved.document)  # With its defaults.

    def __call__(self, run: Run) -> bytes:
        """Return the value of a record; raises EventInvalid."""
        buffer = BytesIO(self.header)
        buffer.seek(len(self.header))
        try:
            fastavro.schemaless_writer(buffer, self._parsed, _with_total(run))
        except Exception as error:  # whatever a writer makes of what does not fit; its message shows values
            raise EventInvalid(f"the run object does not fit the schema{self._culprit(run)}") from error
        return buffer.getvalue()

    def _culprit(self, run: Run) -> str:
        """Return the field that cannot be encoded, found by trying each field alone."""
        for field in self.document.get("fields", ()):
            alone = {"type": "record", "name": "Alone", "fields": [field]}
            try:
                fastavro.schemaless_writer(BytesIO(), fastavro.parse_schema(alone), run)
            except Exception:  # noqa: BLE001  see above; a type that is named elsewhere cannot be tried
                if field["name"] in run:
                    return f": what stands in {field['name']} is not of its type"
                return f": {field['name']} is missing"
        return ""


def _with_total(run: Run) -> Run:
    """Return the run with the sum of its tokens where it lacks a total: a schema's default would be taken for one."""
    given = run.get("usage")
    if not isinstance(given, Mapping) or given.get("total_tokens") is not None:
        return run
    counts = usage(given.get("prompt_tokens"), given.get("completion_tokens"), None)
    return run if counts is None else {**run, "usage": {**given, "total_tokens": counts[2]}}


class RunProducer:
    """Sends run objects to a topic: idempotent, keyed by run id, with the time at which the status changed.

    All events of a run have one key, so they are in one partition and keep their order. Connection settings are those
    of the service (`bootstrap_servers`, `security_protocol`, `sasl_username`, …). `encode`: `encode_json`, an
    AvroEncoder, or a function of your own; `id_of` returns the run's id from an object of another shape. Raises
    ConfigError for a setting that is wrong.
    """

    def __init__(
        self,
        topic: str = "run-events",
        *,
        encode: Encode = encode_json,
        id_of: Callable[[Run], Any] = lambda run: run["id"],
        **kafka: Any,
    ) -> None:
        try:
            settings = KafkaSettings(**kafka)
        except ValidationError as error:
            raise ConfigError(f"the connection settings are wrong: {'; '.join(flaws(error))}") from None
        if settings.by_token:
            TOKENS.come_from(source_of)
        self._producer = AioProducer(settings, topic)
        self._encode = encode
        self._id_of = id_of

    async def __aenter__(self) -> Self:
        """Connect; raises BrokerUnavailable."""
        await self._producer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send the rest of the queue, and disconnect; raises BrokerUnavailable where an event was lost."""
        await self._producer.__aexit__(kind, error, trace)

    async def send(self, run: Run, *, at: float | None = None) -> None:
        """Queue a run object; waits while the queue is full. `at`: the time of the change in Unix seconds, default now.

        Raises EventInvalid, and BrokerUnavailable where this or an earlier event was lost.
        """
        try:
            run_id = self._id_of(run)
        except (KeyError, TypeError):
            raise EventInvalid("the run object has no id: give `id`, or `id_of` that finds it") from None
        if not isinstance(run_id, str) or not run_id:
            raise EventInvalid("the run's id is no text")
        await self._producer.send(run_id.encode(), self._encode(run), int(1000 * (time.time() if at is None else at)))
