"""What is committed along with each input offset (rules.md 5): enough to tell whether a state belongs to it."""

import json
from typing import NamedTuple

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
        try:
            fields = json.loads(committed.metadata)
            if fields.pop("format") != FORMAT:
                raise ValueError(committed.metadata)  # noqa: TRY301  another format is one more way to be unreadable
            return cls(offset=committed.offset, **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = (
                f"the committed offset {committed.offset} of {where} was not committed by this version of streamproc: "
                "start it with another application_id, or with the version that committed it"
            )
            raise ConfigError(message) from error
