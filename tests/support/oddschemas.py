"""Fields that decode well, in schemas that are not as Avro's specification would have them; each with a value's bytes.

Encoded by hand: fastavro refuses most of these schemas.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastavro

from streamproc.codec.container import HEADER
from streamproc.codec.vet import vetted
from streamproc.errors import Unfit
from tests.support.runobjects import SCHEMAS, encode, long, run_object

BASE = SCHEMAS["v1_5"]
SYNC = bytes(range(16))
RUN = run_object(id="run_1", status="in_progress", created_at=1_717_200_000, model="gpt-4o")


def text(value: str) -> bytes:
    """Return the Avro encoding of a text."""
    return long(len(value.encode())) + value.encode()


def field_of(odd: Any, name: str = "odd") -> dict[str, Any]:
    """Return a field, given as such or as its type alone."""
    is_field = isinstance(odd, dict) and "name" in odd and odd["type"] not in ("record", "error", "enum", "fixed")
    return odd if is_field else {"name": name, "type": odd}


def record(name: str, *fields: Any, **more: Any) -> dict[str, Any]:
    """Return a record's schema; each field is given as such, or as its type alone."""
    return {"type": "record", "name": name, **more, "fields": [field_of(it, f"f{n}") for n, it in enumerate(fields)]}


def decimal(of: Any = "bytes", **more: Any) -> dict[str, Any]:
    """Return a decimal, which is as invalid as `more` makes it."""
    return {"type": of, "logicalType": "decimal", **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    """Return an enum's schema."""
    return {"type": "enum", "name": "Kind", "symbols": list(symbols), **more}


def array(items: Any) -> dict[str, Any]:
    """Return an array's schema."""
    return {"type": "array", "items": items}


def maps(values: Any) -> dict[str, Any]:
    """Return a map's schema."""
    return {"type": "map", "values": values}


FIXED = {"type": "fixed", "name": "Fixed", "size": 1}
RAW = long(2) + b"\xff\x01"
JSON_SCHEMA = record(
    "JsonSchema",
    {"name": "type", "type": ["null", "string"]},
    {"name": "properties", "type": maps("JsonSchema")},
    {"name": "items", "type": ["null", "JsonSchema"]},
    {"name": "anyOf", "type": array("JsonSchema")},
)
LEAF = b"\x02" + text("string") + b"\x00\x00\x00"
DEEPER = b"\x00" + long(1) + text("a") + LEAF + b"\x00" + b"\x02" + LEAF + long(2) + LEAF + LEAF + b"\x00"

LOGICAL: Mapping[str, tuple[Any, bytes]] = {
    "a decimal of too great a scale": (decimal(precision=64, scale=127), RAW),
    "a decimal of negative scale": (decimal(precision=64, scale=-1), RAW),
    "a decimal whose precision is text": (decimal(precision="30"), RAW),
    "a decimal whose precision is 0": (decimal(precision=0, scale=0), RAW),
    "a decimal whose precision is negative": (decimal(precision=-1), RAW),
    "a decimal without precision": (decimal(), RAW),
    "a decimal whose scale is text": (decimal(precision=4, scale="2"), RAW),
    "a decimal whose scale is a fraction": (decimal(precision=4, scale=1.5), RAW),
    "a decimal in too small a fixed": (decimal("fixed", name="F", size=1, precision=30), b"\x07"),
    "a decimal that is text": (decimal("string", precision=4), text("x")),
    "a decimal around a decimal": (decimal(decimal(precision=1, scale=2), precision=1, scale=2), RAW),
    "items that are bad decimals": (array(decimal(scale=-1, precision=1)), long(2) + RAW + RAW + b"\x00"),
    "values that are bad decimals": (maps(decimal(scale=-1, precision=1)), long(1) + text("k") + RAW + b"\x00"),
    "a bad decimal or null": (["null", decimal(scale=-1, precision=1)], b"\x02" + RAW),
    "a bad decimal in a record": (record("R", decimal(scale=-1, precision=1)), RAW),
    "a logical type that is a number": ({"type": "long", "logicalType": 7}, long(5)),
    "a logical type that is null": ({"type": "string", "logicalType": None}, text("x")),
    "a logical type that is a list": ({"type": "long", "logicalType": ["date"]}, long(5)),
    "a logical type that nobody knows": ({"type": "long", "logicalType": "fortnight"}, long(5)),
    "a uuid that is a number": ({"type": "long", "logicalType": "uuid"}, long(5)),
    "a duration of three bytes": ({"type": "fixed", "name": "F", "size": 3, "logicalType": "duration"}, b"abc"),
}
DEFAULTS: Mapping[str, tuple[Any, bytes]] = {
    "an int with a text": ({"name": "x", "type": "int", "default": "0"}, long(1)),
    "a boolean with a text": ({"name": "x", "type": "boolean", "default": "false"}, b"\x01"),
    "a record with null": ({"name": "x", "type": record("R"), "default": None}, b""),
    "an array with null": ({"name": "x", "type": array("string"), "default": None}, b"\x00"),
    "a map with null": ({"name": "x", "type": maps("string"), "default": None}, b"\x00"),
    "a string with null": ({"name": "x", "type": "string", "default": None}, text("a")),
    "a double with an int": ({"name": "x", "type": {"type": "double"}, "default": 0}, bytes(8)),
    "bytes with a number": ({"name": "x", "type": "bytes", "default": 1}, RAW),
    "a fixed with a number": ({"name": "x", "type": FIXED, "default": 1}, b"\x00"),
    "an enum with no symbol": ({"name": "x", "type": enum("A", "B"), "default": "C"}, b"\x02"),
    "an enum with a number": ({"name": "x", "type": enum("A", "B"), "default": 1}, b"\x02"),
    "an enum that has no symbol itself": ({"name": "x", "type": enum("A", "B", default="C")}, b"\x02"),
    "a union with its later branch": ({"name": "x", "type": ["null", "long"], "default": 5}, b"\x02" + long(5)),
    "a union with no branch": ({"name": "x", "type": ["null", "long"], "default": "a"}, b"\x00"),
    "a field in a record with the wrong one": (record("R", {"name": "a", "type": "int", "default": "0"}), long(1)),
}
ATTRIBUTES: Mapping[str, tuple[Any, bytes]] = {
    "aliases that are null": ({"name": "x", "type": "string", "aliases": None}, text("a")),
    "aliases that are a text": ({"name": "x", "type": "string", "aliases": "y"}, text("a")),
    "aliases that are no texts": ({"name": "x", "type": "string", "aliases": [7, None, {}]}, text("a")),
    "aliases of a record that are null": (record("R", "long", aliases=None), long(1)),
    "aliases of an enum that are a text": (enum("A", aliases="B"), b"\x00"),
    "aliases of a fixed that are an object": ({**FIXED, "aliases": {}}, b"\x00"),
    "a doc that is a number": ({"name": "x", "type": record("R", doc=7), "doc": ["x"]}, b""),
    "an order that is none": ({"name": "x", "type": "long", "order": "upwards"}, long(1)),
    "attributes that nobody knows": (
        {"name": "x", "type": {"type": "string", "avro.java.string": {}, "size": -1, "fields": 7}, "symbols": None},
        text("a"),
    ),
    "a hint of fastavro's": (
        {**record("R", decimal(scale=-1, precision=1)), "__fastavro_parsed": True, "__named_schemas": {}},
        RAW,
    ),
}
NAMES: Mapping[str, tuple[Any, bytes]] = {
    **{
        f"a field called {name!r}": ({"name": name, "type": "string"}, text("a"))
        for name in ("größe", "日本", "run-id", "a b", "1st", "", "a.b", '"', "\ud800", "x" * 5_000, "__proto__")
    },
    **{
        f"a record called {name!r}": (record("Outer", record(name, "string"), name), text("a") + text("b"))
        for name in ("Größe", "größe.Maß", "my-record", "a..b", "2nd", "T0", "top", "array")
    },
    **{
        f"the namespace {space!r}": (record("R", enum("A"), namespace=space), b"\x00")
        for space in ("größe", "a-b", "", ".", None, 7, ["x"])
    },
    "symbols in German": (enum("läuft", "Ende"), b"\x02"),
    "symbols that are no names": (enum("a-b", "", "1", "a b"), b"\x06"),
    "a symbol that stands twice": (enum("a", "b", "a"), b"\x04"),
    "a field that stands twice": (
        record("R", {"name": "a", "type": "long"}, {"name": "a", "type": "string"}),
        long(1) + text("b"),
    ),
    "a record that is written out twice": (
        record("Outer", record("Inner", "long"), record("Inner", "long"), "Inner"),
        long(1) * 3,
    ),
    "two records of one name": (
        record("Outer", record("Inner", "long"), record("Inner", "string")),
        long(1) + text("a"),
    ),
}
RECURSIVE: Mapping[str, tuple[Any, bytes]] = {
    "a JSON schema of itself": (["null", JSON_SCHEMA], b"\x02" + DEEPER),
    "the run before": (["null", "streamproc.RunObject"], b"\x00"),
    "the runs before": (array("RunObject"), b"\x00"),
    "runs by name": (maps(["null", "RunObject"]), long(1) + text("a") + b"\x00\x00"),
    "two records in each other": (
        record("A", {"name": "b", "type": ["null", record("B", {"name": "as", "type": array("A")})]}),
        b"\x02" + long(2) + b"\x00" + b"\x02\x00" + b"\x00",
    ),
    "a record in itself after a branch that ends it": (
        record("N", {"name": "n", "type": ["N", "null"]}),
        b"\x00\x00\x02",
    ),
}
FORMS: Mapping[str, tuple[Any, bytes]] = {
    "an object around a union": ({"type": ["null", {"type": {"type": "string"}}]}, b"\x02" + text("a")),
    "an object around a name": (record("R", record("S", "long"), {"type": "S"}), long(1) * 2),
    "an error": ({**record("E", "long"), "type": "error"}, long(1)),
    "a union of equal types": (["string", "string", "null"], b"\x02" + text("a")),
    "a union in a union": (["null", ["string", "long"]], b"\x02\x02" + long(7)),
    "int and long": (["int", "long"], b"\x02" + long(2**40)),
    "a type before its definition": (record("R", ["null", "Later"], record("Later", "long")), b"\x02" + long(1) * 2),
    "an enum of nothing, or null": (["null", enum()], b"\x00"),
    "a union of nothing in a list": (array([]), b"\x00"),
    "a fixed of no bytes": ({**FIXED, "size": 0}, b""),
    "a type that contains itself, or null": (["null", record("N", "N")], b"\x00"),
}
ODD: Mapping[str, tuple[Any, bytes]] = {**LOGICAL, **DEFAULTS, **ATTRIBUTES, **NAMES, **RECURSIVE, **FORMS}


def with_field(odd: Any, *, first: bool = False) -> dict[str, Any]:
    """Return the RunObject's schema with one more field, given as such, or as its type alone."""
    field = field_of(odd)
    fields = BASE.document["fields"]
    return {**BASE.document, "fields": [field, *fields] if first else [*fields, field]}


def payload(value: bytes = b"", *, first: bool = False) -> bytes:
    """Return a RunObject's encoding with that of one more field."""
    run = encode(BASE, RUN)
    return value + run if first else run + value


def write_container(path: Path, document: Any, blocks: Iterable[Sequence[bytes]]) -> Path:
    """Write an object container file as the specification has it, whatever its schema."""
    with path.open("wb") as file:
        meta = {"avro.schema": json.dumps(document).encode(), "mine": b"\xff"}
        fastavro.schemaless_writer(file, HEADER, {"magic": b"Obj\x01", "meta": meta, "sync": SYNC})
        for block in blocks:
            content = b"".join(block)
            file.write(long(len(block)) + long(len(content)) + content + SYNC)
    return path


def dangers(document: Any) -> tuple[str, ...]:
    """Return what makes a schema unsafe, or no schema at all."""
    try:
        vetted(document)
    except Unfit as error:
        return error.faults
    return ()
