"""Whether a schema is safe to decode with: nothing in it lets few bytes of payload kill the process.

The limits are on the schema, once; `skim` has those on each record.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import fastavro
from fastavro.schema import UnknownType, to_parsing_canonical_form

from streamproc.codec.avro import RECORDS, Names, kind, plain, resolved
from streamproc.codec.inline import shown
from streamproc.codec.weight import min_bytes
from streamproc.errors import Unfit
from streamproc.escaping import escaped

MAX_SCHEMA_BYTES = 262_144
MAX_DEPTH = 32
"""Types within types, names replaced by what they stand for."""
MAX_FIELDS = 2_000
"""Of one record, and branches of one union."""
MAX_TYPES = 5_000
"""In all, names replaced by what they stand for."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_FAULTS_SHOWN, MAX_FAULT_CHARS = 20, 500
MAX_FIXED_BYTES = 1 << 20


class _Unsafe(Exception):
    """No schema, or one with which a payload of a few bytes could kill the decoder."""


def unfit(faults: list[str]) -> Unfit:
    """Return the error for records of a schema that cannot be used, whatever is in them."""
    return Unfit([escaped(fault)[:MAX_FAULT_CHARS] for fault in faults[:MAX_FAULTS_SHOWN]])


def dangers(document: Any) -> list[str]:
    """Return what makes a schema unsafe or no schema at all, in words for people; nothing where it is safe.

    Of what is in the schema it shows names only.
    """
    try:
        if len(json.dumps(document)) > MAX_SCHEMA_BYTES:
            raise _Unsafe(f"it has more than {MAX_SCHEMA_BYTES:,} bytes")  # noqa: TRY301  one way out for all dangers
        _refuse_odd(document, "")
        to_parsing_canonical_form(document)
        names: dict[str, Any] = {}
        schema = fastavro.parse_schema(plain(document), names)
        if kind(schema) != "record":
            raise _Unsafe("it must be a record")  # noqa: TRY301
        _Scale(names).weigh(schema, "", 0)
    except _Unsafe as error:
        return [str(error)]
    except UnknownType as error:
        return [f"it uses {shown(str(error.name))}, which it does not define"]
    except RecursionError:
        return ["it is nested too deeply"]
    except Exception as error:  # noqa: BLE001  it may be any JSON: fastavro raises whatever comes, and quotes it
        return [f"it is no Avro schema ({type(error).__name__})"]
    return []


def _refuse_odd(node: Any, at: str) -> None:
    """Hold a schema, which may be any JSON, against Avro's rules for names, sizes and symbols; fastavro has few."""
    if isinstance(node, str):
        return
    if node == []:
        raise _Unsafe(f"{at or 'it'} is a union of nothing, so no record can be written")
    if not isinstance(node, dict | list) or (isinstance(node, dict) and "type" not in node):
        raise _Unsafe(f"{at or 'it'} is no Avro schema: a type is a name, a list, or an object with a type")
    if isinstance(node, dict):
        match node["type"]:
            case "record" | "error":
                _refuse_odd_fields(node.get("fields"), at)
            case "enum":
                _refuse_odd_symbols(node.get("symbols"), at)
            case "fixed" if type(node.get("size")) is not int or not 0 <= node["size"] <= MAX_FIXED_BYTES:
                raise _Unsafe(f"{at}: the size of a fixed is no number from 0 to {MAX_FIXED_BYTES:,}")
            case "array" | "map" as of if {"array": "items", "map": "values"}[of] not in node:
                raise _Unsafe(f"{at} is no Avro schema: it does not say what is in the {of}")
    for step, part in _inside(node):
        _refuse_odd(part, f"{at}{step}".removeprefix("."))


def _refuse_odd_fields(fields: Any, at: str) -> None:
    if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
        raise _Unsafe(f"{at or 'it'} is no Avro schema: its fields are no list of objects")
    seen = set()
    for number, field in enumerate(fields):
        name = field.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            called = shown(name) if isinstance(name, str) else f"field {number}"
            raise _Unsafe(f"{f'{at}.{called}'.removeprefix('.')}: a field's name is made of letters, digits and _")
        if name in seen:
            raise _Unsafe(f"{f'{at}.{name}'.removeprefix('.')} stands twice")
        if "type" not in field:
            raise _Unsafe(f"{f'{at}.{name}'.removeprefix('.')} is no Avro schema: it has no type")
        seen.add(name)


def _refuse_odd_symbols(symbols: Any, at: str) -> None:
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise _Unsafe(f"{at}: the symbols of an enum are no list of texts")
    if not all(NAME.fullmatch(symbol) for symbol in symbols) or len(set(symbols)) < len(symbols):
        raise _Unsafe(f"{at}: the symbols of an enum are made of letters, digits and _, each of them once")


def _inside(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the types right inside one, each with what it adds to the path."""
    if isinstance(node, list):
        yield from (("", branch) for branch in node)
    elif isinstance(node, dict):
        if "fields" in node:
            yield from ((f".{field['name']}", field["type"]) for field in node["fields"])
        for part, step in (("items", "[]"), ("values", "{}")):
            if part in node:
                yield step, node[part]
        if not isinstance(node["type"], str):
            yield "", node["type"]


class _Scale:
    """Weighs the types of one schema, as fastavro has parsed it."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._open = set[str]()

    def weigh(self, schema: Any, at: str, depth: int) -> int:
        """Return how many types a schema has once every name is replaced by what it stands for."""
        schema = resolved(schema, self._names)
        if depth > MAX_DEPTH:
            raise _Unsafe(f"{at}: it is nested deeper than {MAX_DEPTH} types")
        name = schema.get("name", "") if isinstance(schema, dict) else ""
        if name in self._open:
            raise _Unsafe(f"{at}: {name} contains itself: a few bytes of payload could overflow the stack")
        inside = list(_inside(schema))
        if len(inside) > MAX_FIELDS:
            what = "fields" if kind(schema) in RECORDS else "branches"
            raise _Unsafe(f"{at or 'it'} has more than {MAX_FIELDS:,} {what}")
        # A name may stand deeper the next time: it is walked again, which `MAX_TYPES` bounds.
        if name:
            self._open.add(name)
        weight = 1
        for step, part in inside:
            there = f"{at}{step}".removeprefix(".")
            weight += self.weigh(part, there, depth + 1)
            if weight > MAX_TYPES:
                raise _Unsafe(f"it has more than {MAX_TYPES:,} types")
            if kind(schema) in ("array", "map") and min_bytes(part, self._names) == 0:
                raise _Unsafe(f"{there}: its items take no bytes: a payload of a few could have millions of them")
        self._open.discard(name)
        return weight
