"""Schemas that somebody may write runs with: everything that is read in every form, and whatever else beside it."""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

PLAIN = ("string", "long", "int", "double", "float", "boolean", "bytes", "null")
TEXTS: tuple[Any, ...] = (
    *("string", "string", "string", {"type": "string", "avro.java.string": "String"}, "bytes", "long", "double"),
)
SYMBOLS = (
    ["queued", "completed", "x"],
    ["läuft", "in-progress", "in-progress", "", "x"],
    ["\u202e", "x" * 70, "7", "x"],
)
COUNTS: tuple[Any, ...] = ("long", "long", "int", "double", "float", "string")
ODD = 0.06
"""How often something stands where something else is read: only the id and the status make a schema unfit."""
TIMES: tuple[Any, ...] = (
    *("long", "long", "int", "double", "string", "string"),
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"},
)


class Producer:
    """Makes one schema; names are numbered."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._numbers = count()

    def document(self) -> dict[str, Any]:
        """Return the schema of a run."""
        fields = {
            "id": self._text(),
            "status": self._text(),
            "thread_id": self._text(),
            "model": self._text(),
            "created_at": self._maybe(self._rng.choice(TIMES)),
            "completed_at": self._maybe(self._rng.choice(TIMES)),
            "usage": self._maybe(self._usage(), "string"),
            "last_error": self._maybe(self._error(), "long"),
            "metadata": self._maybe(self._metadata(), "string"),
            "required_action": self._maybe(self._record(submit_tool_outputs=self._maybe(self._calls()))),
            "extra": self._anything(3),
            "other": self._anything(3),
            "tree": self._rng.choice(({"type": "array", "items": self._node()}, ["null", self._node()])),
        }
        kept = {
            name: kind if name in ("id", "status") else self._or_odd(kind)
            for name, kind in fields.items()
            if name in ("id", "status") or self._rng.random() < 0.7
        }
        return {**self._record(**kept), "name": "Run", "namespace": "fuzz"}

    def _usage(self) -> Any:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        counts = {name: self._or_odd(self._maybe(self._rng.choice(COUNTS))) for name in names}
        usage = self._record(**counts, rest=self._anything(2))
        of_keys = {"type": "map", "values": self._or_odd(self._maybe(self._rng.choice(COUNTS)))}
        chance = self._rng.random()
        if chance < 0.7:
            return usage
        return [usage, self._record(**counts)] if chance > 0.9 else [usage, of_keys] if chance > 0.8 else of_keys

    def _metadata(self) -> Any:
        pairs = {"type": "map", "values": self._maybe(self._rng.choice(("string", "bytes", *COUNTS)))}
        names = (f"k{number}" for number in range(self._rng.choice((2, 17))))
        chance = self._rng.random()
        if chance < 0.7:
            return pairs
        named = self._record(**{name: self._maybe("string") for name in names})
        return [pairs, named] if chance < 0.9 else named

    def _error(self) -> Any:
        if self._rng.random() < 0.2:
            return {"type": "map", "values": self._or_odd(self._text())}
        return self._record(code=self._or_odd(self._text()), message="string")

    def _node(self) -> Any:
        """Return a record that contains itself, with something beside it."""
        name = self._name("Node")
        again = self._rng.choice((["null", name], {"type": "array", "items": name}, {"type": "map", "values": name}))
        fields = [{"name": "more", "type": again}, {"name": "beside", "type": self._anything(2)}]
        self._rng.shuffle(fields)
        return {"type": "record", "name": name, "fields": fields}

    def _calls(self) -> Any:
        function = self._record(name=self._or_odd(self._text()), arguments=self._anything(1))
        call = self._record(function=self._or_odd(self._maybe(function)), more=self._anything(1))
        return self._record(tool_calls=self._maybe({"type": "array", "items": self._maybe(call)}))

    def _text(self) -> Any:
        enum = {"type": "enum", "name": self._name("E"), "symbols": self._rng.choice(SYMBOLS)}
        kind = enum if self._rng.random() < 0.1 else self._rng.choice(TEXTS)
        return ["null", enum, "long", "string"] if self._rng.random() < 0.1 else self._maybe(kind)

    def _or_odd(self, kind: Any) -> Any:
        return self._anything(2) if self._rng.random() < ODD else kind

    def _maybe(self, kind: Any, also: Any = None) -> Any:
        """Return a type, or a union with it: of null as a rule, of another type, of nothing else."""
        chance = self._rng.random()
        if chance < 0.4:
            return kind
        found = list(kind) if isinstance(kind, list) else [kind]
        found += [] if chance > 0.97 else ["null"]
        found += [also] if also and self._rng.random() < 0.2 else []
        self._rng.shuffle(found)
        return found

    def _record(self, **types: Any) -> dict[str, Any]:
        fields = [{"name": name, "type": kind} for name, kind in types.items()]
        if self._rng.random() < 0.3:
            fields.append({"name": "odd", "type": self._anything(1)})
        self._rng.shuffle(fields)
        return {"type": "record", "name": self._name("R"), "fields": fields}

    def _anything(self, depth: int) -> Any:  # noqa: PLR0911  one for each kind
        """Return any type."""
        rng, chance = self._rng, self._rng.random()
        if depth == 0 or chance < 0.35:
            return ["null", "Run"] if chance < 0.005 else rng.choice(PLAIN)
        if chance < 0.4:
            return {"type": "fixed", "name": self._name("F"), "size": rng.choice((1, 3))}
        if chance < 0.5:
            return {"type": "enum", "name": self._name("E"), "symbols": ["a", "b", "c"]}
        if chance < 0.6:
            return {"type": "array", "items": self._anything(depth - 1)}
        if chance < 0.68:
            return {"type": "map", "values": self._anything(depth - 1)}
        if chance < 0.82:
            return self._record(a=self._anything(depth - 1), b=self._anything(depth - 1))
        return list(self._branches(depth))

    def _branches(self, depth: int) -> Iterator[Any]:
        """Yield the branches of a union, of which no two are of a kind, as Avro has it."""
        seen = set()
        for kind in [self._anything(depth - 1) for _ in range(self._rng.randint(1, 4))] + ["string"]:
            called = kind["type"] if isinstance(kind, dict) else kind
            if isinstance(kind, list) or (called in seen and called not in ("record", "enum", "fixed")):
                continue
            seen.add(called)
            yield kind
        if "null" not in seen and self._rng.random() < 0.6:
            yield "null"

    def _name(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"
