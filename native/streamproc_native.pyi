from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, final

__all__ = [
    "Batch",
    "EventDecoder",
    "EventEncoder",
    "LatestDecoder",
    "Records",
    "RowDecoder",
    "RowEncoder",
    "Unpacker",
    "batch",
    "crc32c",
    "seal",
]

# Key, value, timestamp in milliseconds, headers: codec/message.py.
_Message: TypeAlias = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes]]]

# What codec/rows.py and codec/program.py have of these names.
class _Kind(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def inside(self) -> Sequence[_Kind]: ...

class _Program(Protocol):
    @property
    def nodes(self) -> list[tuple[Any, ...]]: ...
    @property
    def root(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def targets(self) -> Any: ...

@final
class EventDecoder:
    def __new__(
        cls,
        program: _Program,
        limits: tuple[int, int],
        memory: tuple[Mapping[str, str], Sequence[str], Sequence[str]],
    ) -> EventDecoder: ...
    def decode(self, payloads: list[bytes]) -> tuple[Sequence[list[Any]], list[tuple[int, int]], list[int]]: ...

@final
class RowEncoder:
    def __new__(cls, header: bytes, fields: Sequence[tuple[_Kind, int]]) -> RowEncoder: ...
    def encode(self, rows: Sequence[tuple[Any, ...]], constants: tuple[Any, ...]) -> list[bytes]: ...

@final
class RowDecoder:
    def __new__(cls, fields: Sequence[tuple[_Kind, bool]]) -> RowDecoder: ...
    def decode(self, values: Sequence[bytes], header: int) -> list[list[Any]]: ...

# Label, what the value of a record without one begins with, and the fields.
_Version: TypeAlias = tuple[bytes, bytes, Sequence[tuple[_Kind, bool]]]

@final
class LatestDecoder:
    def __new__(
        cls, name: str, framings: Sequence[tuple[bytes, int]], versions: Sequence[_Version]
    ) -> LatestDecoder: ...
    def decode(self, parts: Sequence[tuple[Batch, int, int]]) -> tuple[list[bytes | None], list[list[list[Any]]]]: ...

@final
class Records:
    def __new__(cls, messages: Iterable[_Message] | None = None) -> Records: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Message]: ...
    def extend(self, messages: Iterable[_Message]) -> None: ...
    def batches(self, limit: int) -> list[tuple[int, int, int, bytes]]: ...

@final
class EventEncoder:
    def __new__(cls, rows: RowEncoder, places: Sequence[int], headers: Sequence[tuple[str, bytes]]) -> EventEncoder: ...
    def encode(
        self,
        rows: Sequence[tuple[Any, ...]],
        constants: tuple[Any, ...],
        place: bytes,
        ids: Mapping[int, bytes],
        wall_ms: int,
    ) -> Records: ...

def batch(
    records: bytes, attributes: int, count: int, times: tuple[int, int], producer: tuple[int, int, int]
) -> bytes: ...

# What a batch's head says: first offset, first timestamp, and that of all records where the broker sets it.
_Head: TypeAlias = tuple[int, int, int | None]
_Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]

_Columns: TypeAlias = tuple[list[int], list[int], list[bytes | None], list[bytes | None], list[_Headers]]

@final
class Batch:
    def __len__(self) -> int: ...
    def fitting(self, start: int, records: int, memory: int) -> tuple[int, int]: ...
    def offset(self, at: int) -> int: ...

@final
class Unpacker:
    def __new__(cls, max_headers: int, header_cost: int) -> Unpacker: ...
    def unpack(self, content: bytes, count: int, head: _Head, first: int) -> Batch: ...
    def columns(self, batch: Batch, start: int, stop: int) -> _Columns: ...

def crc32c(data: bytes) -> int: ...

# What is listed of each block, and its data: store/block.py. `most`: bytes and payloads in one.
def seal(
    entries: list[tuple[int, bytes]], most: tuple[int, int], digest_bytes: int, level: int
) -> list[tuple[bytes, bytes]]: ...
