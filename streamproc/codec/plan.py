"""Where a writer's schema holds what the fold reads: found once, when a schema is seen for the first time.

Fields are found by name, else by an alias that the writer gives; unions in any order; what is absent is null. What is
there but cannot be read is a fault, with its path and the reason.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamproc.codec.avro import LONG_UNITS, RECORDS, TIME_OF_WHAT, Names, branches, kind
from streamproc.codec.normal import Tree, called
from streamproc.core.shape import LIST, METADATA, NAMES, REQUIRED, TIMES, TOKENS, TOOLS, Shape

TEXT = frozenset(("string", "enum", "bytes"))
WHOLE = frozenset(("long", "int"))
MOMENT = WHOLE | {"float", "double", "string"}
_WANTED = {
    **dict.fromkeys((*REQUIRED, *NAMES, TOOLS), (TEXT, "string, enum or bytes")),
    **dict.fromkeys(TIMES, (MOMENT, "a number, a timestamp or a string (ISO 8601)")),
    **dict.fromkeys(TOKENS, (WHOLE, "long or int")),
}
_TEXTS = ("string", ["null", "string"], ["string", "null"])

Path = tuple[str, ...]
"""Names of fields one inside the other, LIST where each item of a list is meant."""


class Field(NamedTuple):
    """Where a target is found.

    `per_second`: how many of a time's units make a second, where it is a plain number; `kind`: the type that it has
    beside null, `union` for several; `direct`: no union on the way holds more than null and one type.
    """

    path: Path
    kind: str
    per_second: int
    direct: bool


class Plan(NamedTuple):
    """Where the records of one schema hold what is read: each target's fields, of which the first not null counts."""

    fields: Mapping[str, tuple[Field, ...]]
    shape: Shape

    @property
    def is_direct(self) -> bool:
        """Whether each target is one column, or several of one type: what a columnar decoder takes."""
        return all(
            all(field.direct for field in fields) and len({(field.kind, field.per_second) for field in fields}) == 1
            for fields in self.fields.values()
        )


class _Misfit(Exception):
    """A field that is there but cannot be read."""


class _Missing(Exception):
    """A field that is not there, or always null."""


def steps(path: str) -> Path:
    """Return the steps of a path as a profile writes it: `calls[].name` is `calls`, LIST, `name`."""
    return tuple(step for name in path.split(".") for step in ((name[:-2], LIST) if name.endswith(LIST) else (name,)))


def make_plan(tree: Tree, shape: Shape) -> tuple[Plan, list[str]]:
    """Return where a schema, one that is safe, holds what is read; and its faults: with any, it cannot be used."""
    fields: dict[str, tuple[Field, ...]] = {}
    faults: list[str] = []
    for target, paths in shape.paths.items():
        found: list[Field] = []
        misfits: list[str] = []
        lacks = set[str]()
        for path in paths:
            try:
                field = _find(tree.top, target, path, shape, tree.types)
            except _Misfit as error:
                misfits.append(str(error))
            except _Missing as error:
                lacks.add(str(error))
            else:
                found += [] if field is None else [field._replace(path=(*tree.prefix, *field.path))]
        if found:
            fields[target] = tuple(found)
        elif target in REQUIRED and not misfits:
            misfits.append(f"{' or '.join(paths)} is {' or '.join(sorted(lacks))}")
        faults += misfits
    return Plan(fields, shape), list(dict.fromkeys(faults))


def _find(schema: Any, target: str, path: str, shape: Shape, names: Names) -> Field | None:
    """Return where a path leads; None to metadata that are no map: they are only ever counted.

    Raises _Missing, _Misfit.
    """
    search = _Search(names)
    found = search.leaves(schema, steps(path), (), "")
    if len({place for place, _ in found}) > 1:
        raise _Misfit(f"{path} has another name in each branch of a union")
    [place, *_], leaves = zip(*found, strict=True)
    kinds, several = [kind(leaf) for leaf in leaves], len(leaves) > 1
    direct = search.direct and not several
    if target == METADATA:
        is_plain = kinds == ["map"] and leaves[0]["values"] in _TEXTS
        return Field(place, "map", 1, direct and is_plain) if "map" in kinds else None
    per_second = _unit(leaves, target, path, shape) if target in TIMES else 1
    accepted, words = _WANTED[target]
    if wrong := [each for each in kinds if each not in accepted]:
        raise _Misfit(f"{path} is {' or '.join(wrong)}: it must be {words}")
    return Field(place, "union" if several else kinds[0], per_second, direct)


class _Search:
    """The way along one path; `direct` stays true while no union on it is of anything but null and one type."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.direct = True

    def leaves(self, schema: Any, rest: Path, place: Path, at: str) -> list[tuple[Path, Any]]:
        """Return the types that the end of the path may have beside null, each with the names that the writer uses.

        Raises _Missing where there is none, _Misfit.
        """
        found = branches(schema, self._names)
        if not found:
            raise _Missing("always null")
        if isinstance(schema, list) and not (len(found) == 1 and len(schema) == 2):  # noqa: PLR2004  null and a type
            self.direct = False
        if not rest:
            return [(place, leaf) for leaf in found]
        wanted = ("array",) if rest[0] == LIST else tuple(RECORDS)
        matching = [branch for branch in found if kind(branch) in wanted]
        if not matching:
            what = "a list" if rest[0] == LIST else "a record"
            raise _Misfit(f"{at or 'it'} is {' or '.join(map(kind, found))}: it must be {what}")
        if rest[0] != LIST and any(kind(branch) == "map" for branch in found):
            raise _Misfit(f"{at or 'it'} is a record or a map: which one a value is cannot be told")
        if rest[0] == LIST:
            return self.leaves(matching[0]["items"], rest[1:], (*place, LIST), f"{at}[]")
        return self._inside(matching, rest, place, f"{at}.{rest[0]}" if at else rest[0])

    def _inside(self, records: Sequence[Any], rest: Path, place: Path, at: str) -> list[tuple[Path, Any]]:
        """Look in each record; what one of them lacks is null there."""
        found: list[tuple[Path, Any]] = []
        lack = _Missing("missing")
        fields = [_field(record, rest[0], at) for record in records]
        names = {field["name"] for field in fields if field is not None}
        for record, field in zip(records, fields, strict=True):
            if field is None:
                if any(other["name"] in names for other in record["fields"]):
                    raise _Misfit(f"{at} has a name that means something else in another branch of a union")
            else:
                try:
                    found += self.leaves(field["type"], rest[1:], (*place, field["name"]), at)
                except _Missing as error:
                    lack = error
        if not found:
            raise lack
        return found


def _field(record: Any, name: str, at: str) -> Any | None:
    """Return a record's field by its name, else by an alias that the writer gives it."""
    fields = record["fields"]
    own = [field for field in fields if called(field) == name]
    if len(own) > 1:
        raise _Misfit(f"{at} stands twice")
    return own[0] if own else next((field for field in fields if name in field.get("aliases", ())), None)


def _unit(leaves: Sequence[Any], target: str, path: str, shape: Shape) -> int:
    units = set()
    for leaf in leaves:
        logical = leaf.get("logicalType") if isinstance(leaf, dict) else None
        if logical in TIME_OF_WHAT:
            raise _Misfit(f"{path} is {TIME_OF_WHAT[logical]}: {target} must be a moment")
        if kind(leaf) in WHOLE | {"float", "double"}:
            units.add(LONG_UNITS.get(str(logical), shape.per_second))
    if len(units) > 1:
        raise _Misfit(f"{path} is a number of two units: which one is meant cannot be told")
    return units.pop() if units else shape.per_second
