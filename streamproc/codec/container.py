"""Avro object container files: RunObjects in, results out.

Payloads are read and written as bytes: nothing is encoded a second time. fastavro finds the blocks. It would also parse
the file's schema, and refuse it for parts that decoding does not need; so it is given a replacement header.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import fastavro

from streamproc.codec.schemas import Schema, WriterSchema
from streamproc.codec.skim import Faulty
from streamproc.core.shape import Shape
from streamproc.errors import ConfigError, RecordRejected, RejectionReason

MAGIC = b"Obj\x01"
CODECS = ("null", "deflate", "snappy", "bzip2", "xz")
"""The codecs that fastavro reads with the packages that streamproc depends on anyway."""
BLOCK_BYTES = 64_000
HEADER: Any = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "Magic", "size": len(MAGIC)}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": 16}},
        ],
    }
)
"""The schema of a file's header, from the Avro specification."""


class Header(NamedTuple):
    """The header of a file: its schema as JSON, the compression of its blocks, and the marker behind each block."""

    schema: bytes
    codec: str
    sync: bytes


class Entry(NamedTuple):
    """A record of a file: its payload, and the decoded fields."""

    payload: bytes
    fields: Mapping[str, Any]


def read_header(file: IO[bytes]) -> Header:
    """Read the header of a file, up to its first block. A damaged header may raise any exception."""
    header: Any = fastavro.schemaless_reader(file, HEADER, None)
    if header["magic"] != MAGIC:
        raise ValueError("no Avro object container file")
    meta = header["meta"]
    return Header(meta["avro.schema"], meta.get("avro.codec", b"null").decode(), header["sync"])


def schema_of(path: Path, shape: Shape) -> WriterSchema:
    """Return the schema of a file of RunObjects; raises ConfigError where the file holds anything else."""
    with _open(path) as file:
        header = _header(file, path)
    if header.codec not in CODECS:
        raise ConfigError(f"{path} is compressed with {header.codec}: write it again with one of {', '.join(CODECS)}")
    try:
        document = json.loads(header.schema)
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} holds no RunObjects: its schema is no JSON, or nested too deeply") from None
    try:
        return WriterSchema(document, shape)
    except RecordRejected as error:
        raise ConfigError(f"{path} holds no RunObjects: {error}") from None


def entries(path: Path, schema: WriterSchema) -> Iterator[Entry]:
    """Yield a file's records, block by block; raises ConfigError where the file is damaged."""
    with _open(path) as file:
        header = _header(file, path)
        end = file.tell()
        blocks = fastavro.block_reader(_Behind(header, file))  # type: ignore[arg-type]  # it calls no more than that
        try:
            for block in blocks:
                yield from _entries_of(block, schema)
                end = block.offset + block.size
        except Faulty as error:
            if error.fault.reason != RejectionReason.TOO_COMPLEX:
                raise _damaged(path, end, str(error)) from error
            raise ConfigError(f"{path} has a record in the block at byte {end} that cannot be read: {error}") from None
        except ConfigError:
            raise
        except Exception as error:  # a damaged file raises whatever comes, and its text may quote the payload
            raise _damaged(path, end, type(error).__name__) from error
        if end != path.stat().st_size:
            raise _damaged(path, end, "it stops in the middle of a block")


class _Behind:
    """A file whose header is replaced by one with a trivial schema, for fastavro's block reader."""

    def __init__(self, header: Header, file: IO[bytes]) -> None:
        meta = {"avro.schema": b'"null"', "avro.codec": header.codec.encode()}
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, HEADER, {"magic": MAGIC, "meta": meta, "sync": header.sync})
        self._before = BytesIO(buffer.getvalue())
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read on; one call never returns bytes of both the header and the file."""
        return self._before.read(size) or self._file.read(size)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


def _entries_of(block: Any, schema: WriterSchema) -> Iterator[Entry]:
    data: bytes = block.bytes_.getvalue()
    stream, start = block.bytes_, 0
    for _ in range(block.num_records):
        if schema.skimmer.is_endless:  # Checked first: a few bytes of such a type can overflow fastavro's stack.
            schema.skimmer.end(data, start)
        # A text that is not UTF-8 makes a bad record, not a damaged file: the end of the record is still known.
        fields: Any = fastavro.schemaless_reader(stream, schema.parsed, None, handle_unicode_errors="replace")
        end = stream.tell()
        yield Entry(data[start:end], fields)
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


def _header(file: IO[bytes], path: Path) -> Header:
    try:
        return read_header(file)
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
        self._file.write(MAGIC + _varint(len(metadata)) + pairs + _varint(0) + self._sync)

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
            header = _varint(len(self._block)) + _varint(self._bytes)
            self._file.write(b"".join((header, *self._block, self._sync)))
            self._block.clear()
            self._bytes = 0


def _bytes(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Return the Avro encoding of a long that is not negative."""
    bits = number << 1
    encoded = bytearray()
    while bits > 0x7F:  # noqa: PLR2004
        encoded.append(bits & 0x7F | 0x80)
        bits >>= 7
    encoded.append(bits)
    return bytes(encoded)
