"""Avro object container files: RunObjects in, results out.

Payloads are lifted out as they stand, and set down as the encoders made them: nothing is encoded a second time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import fastavro

from streamproc.codec.schemas import Schema, WriterSchema, varint
from streamproc.core.shape import Shape
from streamproc.errors import ConfigError, RecordRejected

MAGIC = b"Obj\x01"
CODECS = ("null", "deflate", "snappy", "bzip2", "xz")
"""What fastavro reads with the packages that streamproc has anyway."""
BLOCK_BYTES = 64_000


class Entry(NamedTuple):
    """A record of a file: its payload's bytes, and what they say."""

    payload: bytes
    found: Mapping[str, Any]


def schema_of(path: Path, shape: Shape) -> WriterSchema:
    """Return the schema of a file of RunObjects; raises ConfigError where the file holds anything else."""
    with _open(path) as file:
        metadata = _reader(file, path).metadata
    codec = metadata.get("avro.codec", "null")
    if codec not in CODECS:
        raise ConfigError(f"{path} is compressed with {codec}: write it again with one of {', '.join(CODECS)}")
    try:
        return WriterSchema(json.loads(metadata["avro.schema"]), shape)
    except RecordRejected as error:
        raise ConfigError(f"{path} holds no RunObjects: {error}") from None


def entries(path: Path, schema: WriterSchema) -> Iterator[Entry]:
    """Yield a file's records, block by block; raises ConfigError where the file is damaged."""
    with _open(path) as file:
        blocks = _reader(file, path)
        end = file.tell()
        try:
            for block in blocks:
                yield from _entries_of(block, schema)
                end = block.offset + block.size
        except ConfigError:
            raise
        except Exception as error:  # a damaged file raises whatever comes, and its text may quote the payload
            raise _damaged(path, end, type(error).__name__) from error
        if end != path.stat().st_size:
            raise _damaged(path, end, "it stops in the middle of a block")


def _entries_of(block: Any, schema: WriterSchema) -> Iterator[Entry]:
    data: bytes = block.bytes_.getvalue()
    stream, start = block.bytes_, 0
    for _ in range(block.num_records):
        # A text that is not UTF-8 is a bad record, not a damaged file: its end can be found.
        found: Any = fastavro.schemaless_reader(stream, schema.parsed, None, handle_unicode_errors="replace")
        end = stream.tell()
        yield Entry(data[start:end], found)
        start = end
    if start != len(data):
        raise ValueError("bytes are left over at the end of the block")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _reader(file: IO[bytes], path: Path) -> Any:
    try:
        return fastavro.block_reader(file)
    except Exception as error:  # anything may be in a file
        raise ConfigError(
            f"{path} is no Avro object container file ({type(error).__name__}): replay reads files as `avro-tools` "
            "and fastavro write them, not framed Kafka values or JSON"
        ) from error


def _damaged(path: Path, at: int, why: str) -> ConfigError:
    return ConfigError(
        f"{path} is damaged in the block at byte {at} ({why}): fetch or write it again; nothing was written"
    )


class ContainerWriter:
    """Writes payloads of one schema into a new file. The same payloads make the same file."""

    def __init__(self, path: Path, schema: Schema) -> None:
        text = json.dumps(schema.document).encode()
        self._file = path.open("wb")
        self._sync = blake2b(text, digest_size=16).digest()
        self._block: list[bytes] = []
        self._bytes = 0
        self.records = 0
        metadata = {b"avro.schema": text, b"avro.codec": b"null"}
        pairs = b"".join(_bytes(part) for pair in metadata.items() for part in pair)
        self._file.write(MAGIC + varint(len(metadata)) + pairs + varint(0) + self._sync)

    def append(self, payloads: Iterable[bytes]) -> None:
        """Add records."""
        for payload in payloads:
            self._block.append(payload)
            self._bytes += len(payload)
            self.records += 1
            if self._bytes >= BLOCK_BYTES:
                self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._flush()

    def _flush(self) -> None:
        if self._block:
            header = varint(len(self._block)) + varint(self._bytes)
            self._file.write(b"".join((header, *self._block, self._sync)))
            self._block.clear()
            self._bytes = 0


def _bytes(value: bytes) -> bytes:
    return varint(len(value)) + value
