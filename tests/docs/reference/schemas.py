"""docs/reference/schemas.md: every schema that ships, field by field."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.docs.reference.markdown import code, codes, page, table

SCHEMAS = Path(__file__).parents[3] / "schemas"
INTRODUCTION = """\
The files are in `schemas/`, and in the installed package. `?` behind a type: it may be null. Which topic holds which
record: [Topics](topics.md)."""
Document = dict[str, Any]


def text() -> str:
    """Return the page."""
    documents = {path.name: json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.avsc"))}
    return page("Schemas", "the Avro schemas", INTRODUCTION, *(_file(name, one) for name, one in documents.items()))


def _file(name: str, document: Document) -> str:
    [first, *others] = records(document)
    parts = [f"## {name}", f"{document['name']}: {document['doc']}", _fields(first)]
    for record in others:
        parts += [f"**{record['name']}**{': ' + record['doc'] if 'doc' in record else ''}", _fields(record)]
    return "\n\n".join(parts)


def _fields(record: Document) -> str:
    rows = [(code(field["name"]), type_of(field["type"]), field.get("doc", "")) for field in record["fields"]]
    return table(("field", "type", ""), rows)


def records(schema: Any) -> Iterator[Document]:
    """Yield the records of a schema, each where it is defined, the outer one first."""
    if isinstance(schema, list):
        for each in schema:
            yield from records(each)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
            for field in schema["fields"]:
                yield from records(field["type"])
        else:
            yield from records(schema.get("items", schema.get("values", schema["type"])))


def type_of(schema: Any) -> str:
    """Return a type in words."""
    match schema:
        case str():
            said = schema
        case list():
            said = " or ".join(type_of(each) for each in schema if each != "null") + ("?" if "null" in schema else "")
        case {"logicalType": meaning, "type": base}:
            said = f"{meaning} ({type_of(base)})"
        case {"type": "array", "items": within}:
            said = f"list of {type_of(within)}"
        case {"type": "map", "values": within}:
            said = f"map of {type_of(within)}"
        case {"type": "enum", "symbols": symbols}:
            said = codes(symbols)
        case {"type": "record" | "fixed", "name": name}:
            said = name
        case _:
            said = type_of(schema["type"])
    return said
