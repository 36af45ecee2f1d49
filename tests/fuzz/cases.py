"""Values of every kind of producer, good and broken, by a seed: the same seed makes the same ones."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from streamproc.codec.arrival import MAX_UNIX_SECONDS
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.lifecycle import Profile
from streamproc.core.profiles import PROFILES
from tests.support.runobjects import EXTREMES, encode

START_MS = 1_717_200_000_000
POOL = 120
"""Good values of each schema that the cases are made from."""
TEXTS = (
    "",
    "a",
    "run_1",
    "\u00df",
    "\u65e5\u672c",
    "\U0001f980",
    "\x00",
    "\u202e",
    "x" * 300,
    "y" * 1_100,
    "2024-06-01T00:00:00Z",
    "2024-06-01 00:00:00 UTC",
    "Sat, 01 Jun 2024 00:00:00 GMT",
    "0001-01-01T00:00:00Z",
    "1717200000",
    "12",
)
TIMES = (0, 1, 1_717_200_000, MAX_UNIX_SECONDS, MAX_UNIX_SECONDS + 1, -1)
FLOATS = (
    *(0.0, -0.0, 0.5, -0.5, 1.5, -1.0, 12.0, 2.0**24, 2.0**53, -(2.0**53), 2.0**63, -(2.0**63)),
    *(float("nan"), float("inf"), float("-inf")),
)
"""The same in 32 bits as in 64."""
ODD: Sequence[Any] = (
    *(
        None,
        True,
        0,
        -1,
        12.0,
        0.5,
        10**30,
        float("nan"),
        "",
        "\ud83d",
        "1717200000",
        "2024-06-01 00:00:00 UTC",
        [],
        {},
    ),
    *([None, {}], {"total_tokens": "7", "code": 500}, {"submit_tool_outputs": {"tool_calls": [{"function": 1}, 2]}}),
)
"""Values of JSON that may stand anywhere."""
KEYS = ("total_tokens", "prompt_tokens", "code", *map(str, range(20)))
"""Of maps; some of them are read."""
SHARE_GOOD = 0.25


def value_of(rng: Random, schema: Any, names: dict[str, Any]) -> Any:  # noqa: PLR0911  one for each kind
    """Return a value of an Avro type, edges more often than not; nothing that contains itself."""
    if isinstance(schema, list):
        again = "null" in schema and any(isinstance(branch, str) and branch in names for branch in schema)
        return None if again else value_of(rng, rng.choice(schema), names)
    if isinstance(schema, str) and schema in names:
        schema = names[schema]
    if isinstance(schema, dict):
        kind = schema["type"]
        if kind == "record":
            names[schema["name"]] = schema
            return {field["name"]: value_of(rng, field["type"], names) for field in schema["fields"]}
        if kind == "array":
            again = isinstance(schema["items"], str) and schema["items"] in names
            sizes = (0,) if again else (0, 1, 2, 5, 20)
            return [value_of(rng, schema["items"], names) for _ in range(rng.choice(sizes))]
        if kind == "map":
            again = isinstance(schema["values"], str) and schema["values"] in names
            keys = rng.sample((*TEXTS, *KEYS), rng.choice((0,) if again else (0, 2, 20)))
            return {key: value_of(rng, schema["values"], names) for key in keys}
        if kind == "fixed":
            return rng.randbytes(schema["size"])
        return rng.choice(schema["symbols"]) if kind == "enum" else value_of(rng, kind, names)
    return {
        "null": lambda: None,
        "boolean": lambda: rng.random() < 0.5,
        "int": lambda: rng.choice((0, 1, -1, 2**31 - 1, -(2**31))),
        "long": lambda: rng.choice(EXTREMES + TIMES),
        "float": lambda: rng.choice(FLOATS),
        "double": lambda: rng.choice((*FLOATS, 1.7e9, 1_717_200_000.5, 2.0**53 - 1, 2.0**53 + 2, 1e22, 1e300)),
        "string": lambda: rng.choice(TEXTS),
        "bytes": lambda: rng.randbytes(rng.choice((0, 1, 40))),
    }[schema]()


def credible(rng: Random, found: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """Most values name a run and a status that the fold knows, and a time that is one."""
    if rng.random() < 0.9:
        [run_id], [status] = (profile.shape.paths[target] for target in ("id", "status"))
        found[run_id] = f"run_{rng.randrange(40)}"
        found[status] = rng.choice(profile.statuses)
        for name, value in found.items():
            if name.endswith("_at") and isinstance(value, int) and rng.random() < 0.9:
                found[name] = rng.choice((None, 1_717_200_000, 1_717_200_600)) or 0
    return found


@cache
def _schemas_of(name: str) -> Sequence[WriterSchema]:
    """Return what ships, and two more: one with bytes in it, and one with a fixed besides."""
    profile = PROFILES[name]
    shipped = [WriterSchema(load(name).document, profile.shape) for name in profile.schemas]
    fixed = {"type": "fixed", "name": "Digest", "size": 3}
    raw = {
        "type": "record",
        "name": "Raw",
        "fields": [{"name": "raw", "type": "bytes"}, {"name": "text", "type": "string"}],
    }
    extended = [
        {"name": "checksum", "type": ["null", "bytes"]},
        {"name": "parts", "type": {"type": "array", "items": raw}},
        {"name": "digest", "type": ["null", fixed]},
    ]
    fields = shipped[-1].document["fields"]
    with_bytes, with_fixed = [*fields[:1], *extended[:2], *fields[1:]], [*fields[:1], *extended, *fields[1:]]
    documents = ({**shipped[-1].document, "fields": each} for each in (with_bytes, with_fixed))
    return [*shipped, *(WriterSchema(document, profile.shape) for document in documents)]


def schemas_of(profile: Profile) -> Sequence[WriterSchema]:
    """Return schemas of a profile's objects."""
    return _schemas_of(profile.name)


@cache
def _pool(name: str) -> Sequence[tuple[WriterSchema | None, bytes]]:
    """Return good and odd values of a profile: framed Avro with its schema, and JSON without."""
    profile = PROFILES[name]
    rng = Random(name)
    made: list[tuple[WriterSchema | None, bytes]] = []
    for schema in schemas_of(profile):
        for _ in range(POOL):
            found = credible(rng, value_of(rng, schema.document, {}), profile)
            made.append((schema, schema.header + encode(schema, found)))
            if "digest" not in found and "checksum" not in found and rng.random() < 0.3:
                found |= {name: rng.choice(ODD) for name in rng.sample(list(found), 2) if name not in ("id", "status")}
                made.append((None, json.dumps(found).encode(errors="surrogatepass")))
    return made


def _cut(rng: Random, value: bytes) -> bytes:
    return value[: rng.randrange(len(value) + 1)]


def _lengthen(rng: Random, value: bytes) -> bytes:
    return value + rng.randbytes(rng.randint(1, 12))


def _overwrite(rng: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip(rng: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _number(rng: Random, value: bytes) -> bytes:
    """The bytes that lengths, counts and branches are made of."""
    changed = bytearray(value)
    changed[rng.randrange(len(changed))] = rng.choice((0, 1, 2, 3, 4, 0x7F, 0x80, 0x81, 0xFE, 0xFF))
    return bytes(changed)


def _insert(rng: Random, value: bytes) -> bytes:
    at = rng.randrange(len(value))
    extra = rng.choice(
        (rng.randbytes(rng.randint(1, 3)), b"\xff" * 9 + b"\x01", b"\x80\x80\x00", b"\xfe\xff\xff\xff\x0f")
    )
    return value[:at] + extra + value[at:]


def _remove(rng: Random, value: bytes) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + value[at + rng.randint(1, 3) :]


def _repeat(rng: Random, value: bytes) -> bytes:
    """A slice again and again: long lists, deep brackets."""
    at, size = rng.randrange(len(value)), rng.randint(1, 8)
    return value[:at] + value[at : at + size] * rng.choice((2, 30, 400)) + value[at:]


MUTATIONS: Sequence[Callable[[Random, bytes], bytes]] = (
    *(_cut, _lengthen, _overwrite, _flip, _number, _insert, _remove, _repeat),
)


def mutated(rng: Random, value: bytes) -> bytes:
    """Return a value changed in one to three places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = rng.choice(MUTATIONS)(rng, value) if value else b""
    return value


def cases(seed: int, count: int) -> tuple[Profile, list[bytes | None]]:
    """Return values of one profile: a quarter as they were made, the rest changed in one to three places."""
    rng = Random(seed)
    profile = PROFILES[rng.choice(sorted(PROFILES))]
    values: list[bytes | None] = []
    for _ in range(count):
        _, value = rng.choice(_pool(profile.name))
        if rng.random() >= SHARE_GOOD:
            value = mutated(rng, value)
        values.append(value)
    return profile, values


SCHEMA_WORDS: Sequence[Any] = (
    *("null", "int", "long", "string", "bytes", "double", "boolean", "RunObject", "streamproc.RunObject", "Usage", "x"),
    *([], {}, None, 7, ["null"], ["null", "long", "string"], {"type": "map", "values": "null"}, {"type": "array"}),
    *({"type": "array", "items": "string"}, {"type": "enum", "name": "E", "symbols": ["a", "b"]}),
    *({"type": "long", "logicalType": "timestamp-millis"}, {"type": "int", "logicalType": "date"}),
    {"type": "fixed", "name": "F", "size": 3},
    *(
        {"type": "bytes", "logicalType": "decimal", "precision": 1, "scale": 7},
        ["null", "RunObject"],
        "größe",
        "run-id",
    ),
    {"type": "record", "name": "Node", "fields": [{"name": "more", "type": {"type": "map", "values": "Node"}}]},
)


def named(rng: Random, found: Any) -> Any:
    """Let most be runs as far as their names go."""
    for target in ("id", "status"):
        if isinstance(found[target], str | bytes) and rng.random() < 0.9:
            found[target] = "x" if isinstance(found[target], str) else b"x"
    return found


def changed_schema(rng: Random, document: Mapping[str, Any]) -> Any:
    """Return a schema with something in it replaced, renamed or gone."""
    changed = json.loads(json.dumps(document))
    for _ in range(rng.randint(1, 3)):
        node: Any = changed
        while isinstance(node, dict | list) and node:
            key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if rng.random() < 0.3 or not isinstance(node[key], dict | list):
                if rng.random() < 0.2:
                    del node[key]
                else:
                    node[key] = json.loads(json.dumps(rng.choice(SCHEMA_WORDS)))  # It may be changed itself.
                break
            node = node[key]
    return changed
