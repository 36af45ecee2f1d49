"""RunInstance records, both ways: an instance's report about itself. Times in milliseconds."""

from msgspec import Struct, to_builtins

from streamproc.codec.arrival import Arrival
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.message import Message
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed, read_as

VERSIONS = ("run_instance",)


class Partition(Struct, frozen=True, kw_only=True):
    """A partition of an instance; see schemas/run_instance.avsc. None: not known, or does not apply."""

    topic: str
    partition: int
    state: str
    reason: str | None = None
    detail: str | None = None
    since: int | None = None
    lag_records: int | None = None
    lag_seconds: float | None = None
    offset: int | None = None
    last_commit_at: int | None = None
    restore_remaining: int | None = None
    restore_total: int | None = None


class Instance(Struct, frozen=True, kw_only=True):
    """An instance at the time `reported_at`; see schemas/run_instance.avsc."""

    instance_id: str
    version: str
    host: str
    application_id: str
    profile: str
    started_at: int
    reported_at: int
    interval_ms: int
    status: str
    message: str
    ready: bool
    cpu_seconds: float
    memory_bytes: int
    partitions: list[Partition]


class InstanceEncoder:
    """Encodes the reports of the instances of one application."""

    def __init__(self, application_id: str, frames: Frames = SINGLE_OBJECTS) -> None:
        self._schema = load_framed("run_instance", frames)
        source = f"/streamproc/{application_id}/instances"
        self._events = CloudEvents("streamproc.run.instance", source, self._schema.label)

    def report(self, instance: Instance) -> Message:
        """Return the message with an instance's report."""
        value = self._schema.frame(to_builtins(instance))
        return self._message(instance.instance_id, value, instance.reported_at)

    def tombstone(self, instance_id: str, at_ms: int) -> Message:
        """Return the tombstone of an instance that was stopped."""
        return self._message(instance_id, None, at_ms)

    def _message(self, instance_id: str, value: bytes | None, at_ms: int) -> Message:
        key = instance_id.encode()
        return key, value, at_ms, self._events.headers(b"%b:%d" % (key, at_ms), at_ms)


def decode_instance(record: Arrival) -> Instance:
    """Return what an instance says; raises RecordRejected where that is nothing that this release can read."""
    return read_as(Instance, record, VERSIONS, "RunInstance")
