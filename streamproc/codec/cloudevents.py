"""CloudEvents attributes as Kafka headers (binary content mode), and the header that names the schema."""

from functools import lru_cache
from time import gmtime, strftime

from streamproc.core.model import MAX_TIME_MS

SCHEMA_HEADER = "streamproc.schema"
Headers = list[tuple[str, bytes]]
"""A list, because aiokafka's batch builder takes nothing else."""


AVRO, MSGPACK = b"application/avro", b"application/vnd.msgpack"
_MILLISECONDS = [b".%03dZ" % millisecond for millisecond in range(1000)]


class CloudEvents:
    """Makes the headers of one kind of output record. `ce_id` is deterministic, so that a consumer can drop repeats.

    `fixed`: the headers that all records of the kind share; `ce_id` and `ce_time` follow them.
    """

    def __init__(self, kind: str, source: str, schema_label: str, content_type: bytes = AVRO) -> None:
        self.fixed: Headers = [
            ("ce_specversion", b"1.0"),
            ("ce_type", kind.encode()),
            ("ce_source", source.encode()),
            ("content-type", content_type),
            (SCHEMA_HEADER, schema_label.encode()),
        ]

    def headers(self, event_id: bytes, time_ms: int) -> Headers:
        """Return the headers of one record; `time_ms` in milliseconds."""
        return [*self.fixed, ("ce_id", event_id), ("ce_time", _rfc3339(time_ms))]


def _rfc3339(time_ms: int) -> bytes:
    second, millisecond = divmod(max(0, min(time_ms, MAX_TIME_MS)), 1000)
    return _second(second) + _MILLISECONDS[millisecond]


@lru_cache(maxsize=10_000)
def _second(second: int) -> bytes:
    """Format a second; cached, because it costs more than encoding a record, and many records share one."""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second)).encode()
