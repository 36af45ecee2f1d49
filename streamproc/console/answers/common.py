"""Common parts of the API's answers. Times are Unix milliseconds, unless the name ends in `_s`.

OpenAPI's schemas are made from these structs; their docstrings are the reference.
"""

from typing import Annotated

from msgspec import Meta, Struct

Ms = Annotated[int, Meta(description="Unix milliseconds")]
Seconds = Annotated[int, Meta(description="Unix seconds")]


class Answer(Struct, kw_only=True):
    """An answer; it can be sent as JSON."""


class Rebuild(Answer):
    """Progress while the read model is being built. `seconds_left` None: not known yet."""

    records_read: int
    records_left: int
    fraction: float
    seconds_left: float | None


class AsOf(Answer):
    """Up to where the topics were read. `partitions`: the next offset of each, by `topic:partition`.

    `behind_s`: for how long the read model has not been complete; 0: it has all records that Kafka had a moment ago.
    `notes`: what is missing, in words.
    """

    partitions: dict[str, int]
    behind_s: float
    rebuild: Rebuild | None
    notes: list[str]
