"""A record that is to be produced."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from streamproc.codec.cloudevents import Headers

Message = tuple[bytes | None, bytes | None, int, Headers]
"""Key, value (None: a tombstone), timestamp in milliseconds, headers. Its partition is the input's."""


class Messages(Protocol):
    """Messages of one partition, in their order: a list of them, or native records."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Message]: ...
    def extend(self, messages: Iterable[Message], /) -> None: ...  # noqa: D102
