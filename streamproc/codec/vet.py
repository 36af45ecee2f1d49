"""Whether a writer's schema is fit to be read: it is a RunObject's, and nothing in it lets few bytes kill a decoder."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import fastavro
from fastavro.schema import to_parsing_canonical_form

from streamproc.codec.arrival import TIMES, USAGE

MAX_TYPES = 10_000
OPEN = -1
"""The weight of a type that is still being weighed."""
Names = Mapping[str, Any]


class _Unsafe(Exception):
    """A payload of a few bytes could kill the decoder."""


class Shape(NamedTuple):
    """What the decoders need of a type. `optional`: may be absent or null."""

    kinds: tuple[str, ...]
    optional: bool = True
    fields: Mapping[str, "Shape"] = {}
    items: "Shape | None" = None


_TEXT, _WHOLE = Shape(("string", "enum")), Shape(("long", "int"))
_COUNT = _WHOLE._replace(optional=False)
_FUNCTION = Shape(("record",), optional=False, fields={"name": _TEXT._replace(optional=False)})
_CALL = Shape(("record",), optional=False, fields={"function": _FUNCTION})
_CALLS = Shape(("array",), items=_CALL)
RUN_OBJECT = Shape(
    ("record",),
    optional=False,
    fields={
        "id": Shape(("string",), optional=False),
        "status": _TEXT._replace(optional=False),
        **dict.fromkeys(("thread_id", "assistant_id", "model"), _TEXT),
        **dict.fromkeys(TIMES, _WHOLE),
        "usage": Shape(("record",), fields=dict.fromkeys(USAGE, _COUNT)),
        "last_error": Shape(("record",), fields={"code": _TEXT}),
        "required_action": Shape(
            ("record",), fields={"submit_tool_outputs": Shape(("record",), fields={"tool_calls": _CALLS})}
        ),
    },
)
"""The fields that the core reads. All others may be of any type."""


def faults(document: Any) -> list[str]:
    """Return what makes a schema unfit for RunObjects, in words for people; nothing where it is fit."""
    try:
        to_parsing_canonical_form(document)
        names: dict[str, Any] = {}
        schema = fastavro.parse_schema(plain(document), names)
        _weigh(schema, names, {})
        _refuse_empty_items(schema, names)
        return list(_misfits(schema, RUN_OBJECT, "", names))
    except _Unsafe as error:
        return [str(error)]
    except RecursionError:
        return ["it is nested too deeply"]
    except Exception as error:  # noqa: BLE001  it may be any JSON: fastavro raises whatever comes
        return [f"it is no Avro schema ({type(error).__name__}: {error})"]


def plain(schema: Any) -> Any:
    """Return a schema of the same encoding with nothing in it but names and types.

    No logical types, because the core reads plain values: they cost time, and the decoders differ in what they refuse.
    No `int`, because the fast decoder cuts longer numbers off. No defaults: nothing is resolved against another schema.
    """
    if isinstance(schema, list):
        return [plain(branch) for branch in schema]
    if not isinstance(schema, dict):
        return "long" if schema == "int" else schema
    kept = {key: schema[key] for key in ("type", "name", "namespace", "symbols", "size") if key in schema}
    if schema["type"] in ("record", "error"):
        fields = [{"name": field["name"], "type": plain(field["type"])} for field in schema["fields"]]
        return {**kept, "fields": fields}
    if schema["type"] in ("array", "map"):
        part = "items" if schema["type"] == "array" else "values"
        return {**kept, part: plain(schema[part])}
    return kept if schema["type"] in ("enum", "fixed") else plain(schema["type"])


def nodes(schema: Any) -> Iterator[Any]:
    """Yield a schema and all that stands inside it; a name stands for itself."""
    yield schema
    for part in _parts(schema):
        yield from nodes(part)


def kind(schema: Any) -> str:
    """Return a type's kind: `record`, `long`, ..., `union`."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _parts(schema: Any) -> list[Any]:
    if isinstance(schema, list):
        return schema
    if not isinstance(schema, dict):
        return []
    fields = [field["type"] for field in schema.get("fields", ())]
    return fields + [schema[part] for part in ("items", "values") if part in schema]


def _resolved(schema: Any, names: Names) -> Any:
    return names.get(schema, schema) if isinstance(schema, str) else schema


def _weigh(schema: Any, names: Names, weights: dict[str, int]) -> int:
    """Return how many types a schema has once every name is replaced by what it stands for."""
    schema = _resolved(schema, names)
    name = schema.get("name") if isinstance(schema, dict) else None
    if name is not None and name in weights:
        if weights[name] == OPEN:
            raise _Unsafe(f"{name} contains itself: a few bytes of payload could overflow the stack")
        return weights[name]
    if name is not None:
        weights[name] = OPEN
    weight = 1 + sum(_weigh(part, names, weights) for part in _parts(schema))
    if weight > MAX_TYPES:
        raise _Unsafe(f"it has more than {MAX_TYPES:,} types")
    if name is not None:
        weights[name] = weight
    return weight


def _refuse_empty_items(schema: Any, names: Names) -> None:
    for node in nodes(schema):
        if kind(node) == "array" and _is_empty(node["items"], names):
            raise _Unsafe("it has an array whose items take no bytes: a few bytes could be millions of items")


def _is_empty(schema: Any, names: Names) -> bool:
    schema = _resolved(schema, names)
    if kind(schema) == "record":
        return all(_is_empty(part, names) for part in _parts(schema))
    return schema == "null" or (kind(schema) == "fixed" and not schema["size"])


def _misfits(schema: Any, shape: Shape, path: str, names: Names) -> Iterator[str]:
    """Yield where a type is not what the decoders read."""
    found = _resolved(_value_type(schema) if shape.optional else schema, names)
    if kind(found) not in shape.kinds:
        wanted = " or ".join(shape.kinds) + (", or null" if shape.optional else "")
        yield f"{path or 'it'} must be {wanted}"
        return
    if shape.items is not None:
        yield from _misfits(found["items"], shape.items, f"{path}[]", names)
    types = {field["name"]: field["type"] for field in found.get("fields", ())} if shape.fields else {}
    for name, wanted_shape in shape.fields.items():
        where = f"{path}.{name}" if path else name
        if name in types:
            yield from _misfits(types[name], wanted_shape, where, names)
        elif not wanted_shape.optional:
            yield f"{where} is missing"


def _value_type(schema: Any) -> Any:
    """Return what a union with null holds besides it."""
    values = [branch for branch in schema if branch != "null"] if isinstance(schema, list) else []
    return values[0] if len(values) == 1 and len(schema) > 1 else schema
