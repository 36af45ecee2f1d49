"""Records as they were fetched. The records of a native batch become Python objects only when one is accessed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from msgspec import Struct

from streamproc.codec.sizes import HEADER_COST_BYTES, MAX_HEADERS, Headers
from streamproc.native import module

if TYPE_CHECKING:
    from streamproc_native import Batch

unpacker: Any = module and module.Unpacker(MAX_HEADERS, HEADER_COST_BYTES)


class Record(Struct, gc=False):
    """A record, as the codec takes it (see `Arrival`)."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Batched(Sequence[Record]):
    """Records in the order of their offsets.

    `parts`: native batches, each with the range of its records (start, and stop, which is exclusive). Accessing a
    record turns all parts into objects; from then on `parts` is empty.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[Batch, int, int]] = []
        self._objects: list[Record] = []

    def add(self, batch: "Batch", start: int, stop: int) -> None:
        """Add records of a native batch. Call this before appending to `made()`."""
        self.parts.append((batch, start, stop))

    def made(self) -> list[Record]:
        """Return the records as objects; from now on this sequence holds them, and no parts."""
        if self.parts:
            parts, self.parts = self.parts, []
            self._objects = [record for part in parts for record in map(Record, *unpacker.columns(*part))]
        return self._objects

    def __len__(self) -> int:
        return sum(stop - start for _, start, stop in self.parts) if self.parts else len(self._objects)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        return self.made()[at]

    def __iter__(self) -> Any:
        return iter(self.made())
