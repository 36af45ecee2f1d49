"""The metadata committed with each input offset (rules.md 5): enough to decide whether a state belongs to it."""

import json
from typing import Any, NamedTuple

from streamproc.errors import ConfigError
from streamproc.runtime.ports import Committed, TopicPartition

FORMAT = 1
MAX_LONG = 2**63 - 1


class Position(NamedTuple):
    """The state of a partition as of one commit. `stream_time` in milliseconds."""

    offset: int
    sequence: int
    live_keys: int
    stream_time: int
    partitions: int
    profile: str

    def to_committed(self) -> Committed:
        """Return the offset with its metadata."""
        fields = {
            "format": FORMAT,
            "profile": self.profile,
            "sequence": self.sequence,
            "live_keys": self.live_keys,
            "stream_time": self.stream_time,
            "partitions": self.partitions,
        }
        return Committed(self.offset, _text(fields))

    @classmethod
    def of(cls, committed: Committed, source: TopicPartition | str, *, is_input: bool = True) -> "Position":
        """Read a committed offset; raises ConfigError where its metadata is not of this format.

        `is_input`: of the events, where a reset may go; the offsets of the measurements follow.
        """
        recorded = read(committed)
        if isinstance(recorded, Position):
            return recorded
        if isinstance(recorded, Resetting):
            raise ConfigError(
                f"an offsets reset of {source} was interrupted: run it again (`streamproc offsets reset --to ...`), as "
                "its state is rebuilt in part only"
            )
        where = f"{committed.offset}`, which rebuilds the state from there, or `--to earliest`"
        way_out = where if is_input else "earliest` (or to an offset of the events)"
        raise ConfigError(
            f"the committed offset {committed.offset} of {source} was set by something other than this version of "
            "streamproc, such as kafka-consumer-groups --reset-offsets: the state does not belong to it. "
            f"Stop the service and run `streamproc offsets reset --to {way_out} (--dry-run: what it means)"
        )


class Resetting(NamedTuple):
    """A reset to `offset` is under way: the state is neither the one before nor the one behind."""

    offset: int
    sequence: int

    def to_committed(self) -> Committed:
        """Return the offset with the metadata that keeps the service from starting."""
        return Committed(self.offset, _text({"format": FORMAT, "reset": self.offset, "sequence": self.sequence}))


def read(committed: Committed) -> Position | Resetting | None:
    """Parse a committed offset; None if another program committed it, or a release with another format."""
    fields = _fields(committed.metadata)
    if not _is_count(version := fields.pop("format", None)) or version != FORMAT:
        return None
    if not all(isinstance(each, str) if name == "profile" else _is_count(each) for name, each in fields.items()):
        return None
    if fields.keys() == set(Position._fields) - {"offset"}:
        return Position(offset=committed.offset, **fields)
    return Resetting(committed.offset, fields["sequence"]) if fields.keys() == {"reset", "sequence"} else None


def _is_count(value: object) -> bool:
    """Tell whether it is an integer, not negative, in the range of an Avro long; JSON's true is an int in Python."""
    return type(value) is int and 0 <= value <= MAX_LONG


def _text(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _fields(metadata: str) -> dict[str, Any]:
    try:
        fields = json.loads(metadata)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
