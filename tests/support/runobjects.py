"""RunObjects of every bundled version, generated from the schemas themselves, and how they get onto the wire."""

import io
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import SchemaParseException
from hypothesis import strategies as st

from streamproc.codec.arrival import MAX_ID_CHARS, MAX_STATUS_CHARS, MAX_UNIX_SECONDS, is_text
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import Run
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.shape import TIMES
from tests.support.books import RUN_OBJECT_VERSIONS, writer_schema

START_MS = 1_717_200_000_000
SCHEMAS = {version: writer_schema(version) for version in RUN_OBJECT_VERSIONS}
LONGEST = 2**63 - 1
EXTREMES = (0, -1, 1, 63, 64, -64, -65, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, LONGEST, -LONGEST - 1)

longs = st.sampled_from(EXTREMES) | st.integers(-LONGEST - 1, LONGEST)
texts = st.sampled_from(("", "a", "ß", "日本", "🦀", "\x00", "e\u0301", "\u202e", "x" * 200)) | st.text(max_size=12)
times = st.sampled_from((0, 1, MAX_UNIX_SECONDS)) | st.integers(1_700_000_000, 1_800_000_000)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(("run_1", "r", "é" * MAX_ID_CHARS)) | st.text(min_size=1, max_size=20).filter(is_text),
    "status": st.sampled_from((*ASSISTANTS.statuses, "s" * MAX_STATUS_CHARS))
    | st.text(min_size=1, max_size=8).filter(is_text),
    **dict.fromkeys(TIMES, st.none() | times),
}
"""What a RunObject must keep to, to be accepted; every other field may hold anything."""


class Arrived(NamedTuple):
    """A consumed record."""

    offset: int
    value: bytes | None
    timestamp: int = START_MS
    key: bytes | None = b"thread_1"
    headers: list[tuple[str, bytes]] = []  # noqa: RUF012  nobody adds to it


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of an Avro type."""
    if isinstance(schema, list):
        return st.one_of([values(branch) for branch in schema])
    if isinstance(schema, dict):
        if schema["type"] == "record":
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in schema["fields"]})
        if schema["type"] == "array":
            return st.lists(values(schema["items"]), max_size=3)
        if schema["type"] == "map":
            return st.dictionaries(texts, values(schema["values"]), max_size=3)
        return values(schema["type"])
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "long": longs,
        "double": st.floats(allow_nan=False),
        "string": texts,
    }[schema]


def _run_objects(version: str) -> st.SearchStrategy[dict[str, Any]]:
    types = {field["name"]: field["type"] for field in SCHEMAS[version].document["fields"]}
    return st.fixed_dictionaries(
        {name: GOOD[name] if name in GOOD else values(schema) for name, schema in types.items()}
    )


RUN_OBJECTS = {version: _run_objects(version) for version in SCHEMAS}
versions = st.sampled_from(RUN_OBJECT_VERSIONS)
framed_objects = versions.flatmap(lambda version: RUN_OBJECTS[version].map(lambda found: framed(version, found)))
"""Good values of any version."""


def encode(schema: WriterSchema, found: Any) -> bytes:
    """Return an Avro payload."""
    buffer = io.BytesIO()
    try:
        parsed = fastavro.parse_schema(schema.document)
    except SchemaParseException:  # It asks for more than decoding does; all but odd names are the same here.
        parsed = schema.parsed
    try:
        fastavro.schemaless_writer(buffer, parsed, found)
    except ValueError:  # It asks each branch of a union whether a value fits, and that of a date raises for a text.
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(_without_logical_types(schema.document)), found)
    return buffer.getvalue()


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_logical_types(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_logical_types(value) for key, value in node.items() if key != "logicalType"}


def long(number: int) -> bytes:
    """Return the Avro encoding of a number: a count, a union's branch, a length."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, {"type": "long"}, number)
    return buffer.getvalue()


def framed(version: str, found: Any) -> bytes:
    """Return a value in single-object encoding."""
    return SCHEMAS[version].header + encode(SCHEMAS[version], found)


def run_object(**fields: Any) -> dict[str, Any]:
    """Return a small RunObject that every version takes."""
    small = {"id": "run_1", "object": "thread.run", "status": "queued", "tools": [], "file_ids": []}
    return small | fields


def arrivals(*values: bytes | None) -> list[Arrived]:
    """Return records of these values, at offsets that leave gaps, as compacted or transactional topics do."""
    return [Arrived(offset * 3 + 7, value, START_MS + offset) for offset, value in enumerate(values)]


seconds = st.none() | longs
instants = st.integers(0, MAX_UNIX_SECONDS * 1000)
counts = st.integers(0, LONGEST)
names = st.none() | texts
tuples_of_texts = st.lists(texts, max_size=3).map(tuple)
runs = st.builds(
    Run,
    run_id=texts,
    thread_id=names,
    assistant_id=names,
    model=names,
    status=texts,
    status_since=instants,
    status_offset=counts,
    first_seen_at=instants,
    retained_from=instants,
    created_at=seconds,
    started_at=seconds,
    expires_at=seconds,
    ended_at=seconds,
    transitions=counts,
    usage=st.none() | st.tuples(longs, longs, longs),
    error_code=names,
    required_tools=tuples_of_texts,
    alerts=tuples_of_texts,
    offset=counts,
    event_schema=texts,
    event=st.binary(max_size=300),
)
