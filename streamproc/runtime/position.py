"""What is committed along with each input offset (rules.md 5): enough to tell whether a state belongs to it."""

import json
from typing import Any, NamedTuple

from streamproc.errors import ConfigError
from streamproc.runtime.ports import Committed

FORMAT = 1


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
        return Committed(self.offset, json.dumps(fields, separators=(",", ":")))

    @classmethod
    def of(cls, committed: Committed, where: str) -> "Position":
        """Read a committed offset; raises ConfigError where its metadata is not of this format."""
        fields = _fields(committed.metadata)
        if fields.pop("format", None) != FORMAT or fields.keys() != set(cls._fields) - {"offset"}:
            message = (
                f"the committed offset {committed.offset} of {where} was not committed by this version of streamproc: "
                "start it with another application_id, or with the version that committed it"
            )
            raise ConfigError(message)
        return cls(offset=committed.offset, **fields)


def _fields(metadata: str) -> dict[str, Any]:
    try:
        fields = json.loads(metadata)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
