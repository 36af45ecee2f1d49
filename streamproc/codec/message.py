"""A record that is to be produced."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from streamproc.codec.cloudevents import Headers

Message = tuple[bytes | None, bytes | None, int, Headers]
"""Key, value (None: a tombstone), timestamp in milliseconds, headers. It goes to the input's partition number."""


class Messages(Protocol):
    """Messages of one partition, in order: a list, or native records."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Message]: ...
    def extend(self, messages: Iterable[Message], /) -> None: ...  # noqa: D102
