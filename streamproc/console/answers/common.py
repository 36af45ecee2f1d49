"""What every answer of the API has. Times are Unix milliseconds, where the name does not end in `_s`.

OpenAPI's schemas are made of these structs: a docstring is the reference.
"""

from typing import Annotated

from msgspec import Meta, Struct

Ms = Annotated[int, Meta(description="Unix milliseconds")]
Seconds = Annotated[int, Meta(description="Unix seconds")]


class Answer(Struct, kw_only=True):
    """All of them can be sent as JSON."""


class Rebuild(Answer):
    """The read model is being built: what is left. `seconds_left` None: too early to tell."""

    records_read: int
    records_left: int
    fraction: float
    seconds_left: float | None


class AsOf(Answer):
    """Up to where the topics have been read: the next offset of each partition, as `topic:partition`.

    `behind_s`: for how long the read model has not been complete; 0: it has all that Kafka had a moment ago. `notes`:
    what is missing, in words.
    """

    partitions: dict[str, int]
    behind_s: float
    rebuild: Rebuild | None
    notes: list[str]
