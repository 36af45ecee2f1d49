"""Where a writer's schema holds the values that the fold reads: computed once, when a schema is first seen.

Fields are found by name, else by an alias that the writer gives. Unions may be in any order; an absent field is null.
A field of an unreadable type is a fault of the schema where it is the id or the status. Any other is read as null, and
each record that has a value there is flagged.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from streamproc.codec.avro import LONG_UNITS, RECORDS, TIME_OF_WHAT, Names, branches, kind
from streamproc.codec.normal import Tree, called
from streamproc.core.shape import LIST, METADATA, NAMES, REQUIRED, TIMES, TOKENS, TOOLS, Shape

TEXT = frozenset(("string", "enum", "bytes"))
WHOLE = frozenset(("long", "int"))
_NUMBERS = WHOLE | {"float", "double"}
_WANTED = {
    **dict.fromkeys((*REQUIRED, *NAMES, TOOLS), (TEXT | _NUMBERS, "string, enum, bytes or a number")),
    **dict.fromkeys(TIMES, (_NUMBERS | {"string"}, "a number, a timestamp or a string")),
    **dict.fromkeys(TOKENS, (_NUMBERS | {"string"}, "a number or a string of digits")),
    METADATA: (frozenset(("map", *RECORDS)), "a map"),
}

Path = tuple[str, ...]
"""Names of nested fields, from the outside in; LIST stands for each item of a list."""


class Field(NamedTuple):
    """Where a target is found.

    `kind`: its type besides null, `union` for several. `per_second`: how many units make a second, for a time that is a
    plain number. `is_read`: false where the value cannot be used; the record is still flagged for it.
    """

    path: Path
    kind: str
    per_second: int
    is_read: bool = True


class ReadPlan(NamedTuple):
    """The fields of each target in the records of one schema; the first field with a value counts.

    `unread`: the reasons, by target, for fields that cannot be read.
    """

    fields: Mapping[str, tuple[Field, ...]]
    shape: Shape
    unread: Mapping[str, str]


class _Misfit(Exception):
    """A field whose type cannot be read; `place` is its path, `kind` its type."""

    def __init__(self, why: str, place: Path, kind: str) -> None:
        super().__init__(why)
        self.place = place
        self.kind = kind


class _AbsentField(Exception):
    """A field that does not exist, or is always null."""


def steps(path: str) -> Path:
    """Return the steps of a path as a profile writes it: `calls[].name` is `calls`, LIST, `name`."""
    return tuple(step for name in path.split(".") for step in ((name[:-2], LIST) if name.endswith(LIST) else (name,)))


def make_plan(tree: Tree, shape: Shape) -> tuple[ReadPlan, list[str]]:
    """Return the plan for a schema that was vetted, and the schema's faults: with any, it cannot be used."""
    search = _Search(tree.types)
    fields: dict[str, tuple[Field, ...]] = {}
    faults: list[str] = []
    unread: dict[str, str] = {}
    for target, paths in shape.paths.items():
        target_fields: list[Field] = []
        misfits: list[str] = []
        lacks = set[str]()
        for path in paths:
            try:
                field, odd = _find(search, tree.top, target, path, shape)
            except _Misfit as error:
                misfits.append(str(error))
                target_fields.append(Field(error.place, error.kind, 1, is_read=False))
            except _AbsentField as error:
                lacks.add(str(error))
            else:
                target_fields += [] if field is None else [field]
                misfits += odd
        if target in REQUIRED:
            if not target_fields:
                misfits.append(f"{' or '.join(paths)} is {' or '.join(sorted(lacks))}")
            faults += misfits
        elif misfits:
            unread[target] = "; ".join(dict.fromkeys(misfits))
        if target_fields:
            fields[target] = tuple(field._replace(path=(*tree.prefix, *field.path)) for field in target_fields)
    return ReadPlan(fields, shape, unread), list(dict.fromkeys(faults))


def _find(search: "_Search", schema: Any, target: str, path: str, shape: Shape) -> tuple[Field | None, list[str]]:
    """Return where a path leads, and what of it cannot be read; None to metadata whose names the schema always has.

    Raises _AbsentField, _Misfit.
    """
    places_and_leaves = search.leaves(schema, steps(path), (), "")
    places = [place for place, _ in places_and_leaves]
    if len(set(places)) > 1:
        raise _Misfit(f"{path} has another name in each branch of a union", _shared(places), "union")
    [place, *_], leaves = zip(*places_and_leaves, strict=True)
    kinds = [kind(leaf) for leaf in leaves]
    leaf_kind = kinds[0] if len(kinds) == 1 else "union"
    accepted, words = _WANTED[target]
    per_second = _unit(leaves, target, path, shape, place) if target in TIMES else 1
    wrong = [kind_ for kind_ in kinds if kind_ not in accepted]
    why = [f"{path} is {' or '.join(wrong)}: it must be {words}"] if wrong else []
    # A fixed in the union is refused, too: its value could not be told from bytes.
    if len(wrong) == len(kinds) or "fixed" in wrong or (wrong and target in REQUIRED):
        raise _Misfit(why[0], place, leaf_kind)
    if target == METADATA and "map" not in kinds and not wrong:
        return None, why
    return Field(place, leaf_kind, per_second), why


def _shared(places: Sequence[Path]) -> Path:
    """Return the first steps that all places share."""
    same = takewhile(lambda steps_at_depth: len(set(steps_at_depth)) == 1, zip(*places, strict=False))
    return tuple(steps_at_depth[0] for steps_at_depth in same)


class _Search:
    """Follows paths through the types of one schema."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def leaves(self, schema: Any, rest: Path, place: Path, at: str) -> list[tuple[Path, Any]]:
        """Return the types, besides null, at the end of a path, each with its place in the writer's names.

        Raises _AbsentField where there is none, _Misfit.
        """
        types = branches(schema, self._names)
        if not types:
            raise _AbsentField("always null")
        if not rest:
            return [(place, leaf) for leaf in types]
        containers = ("array",) if rest[0] == LIST else ("map", *RECORDS)
        matching = [branch for branch in types if kind(branch) in containers]
        if not matching:
            expected = "a list" if rest[0] == LIST else "a record or a map"
            kinds = " or ".join(map(kind, types))
            raise _Misfit(f"{at or 'it'} is {kinds}: it must be {expected}", place, kind(types[0]))
        if rest[0] == LIST:
            return self.leaves(matching[0]["items"], rest[1:], (*place, LIST), f"{at}[]")
        return self._inside(matching, rest, place, f"{at}.{rest[0]}" if at else rest[0])

    def _inside(self, records: Sequence[Any], rest: Path, place: Path, at: str) -> list[tuple[Path, Any]]:
        """Look in each record or map of a union; a field that one of them lacks is null there."""
        leaves: list[tuple[Path, Any]] = []
        lack = _AbsentField("missing")
        fields = [_field(record, rest[0], place, at) for record in records]
        names = {field["name"] for field in fields if field is not None}
        for record, field in zip(records, fields, strict=True):
            if field is None:
                if any(sibling["name"] in names for sibling in record["fields"]):
                    why = f"{at} has a name that means something else in another branch of a union"
                    raise _Misfit(why, place, "union")
            else:
                try:
                    leaves += self.leaves(field["type"], rest[1:], (*place, field["name"]), at)
                except _AbsentField as error:
                    lack = error
        if not leaves:
            raise lack
        return leaves


def _field(record: Any, name: str, place: Path, at: str) -> Any | None:
    """Return a record's field by name, else by an alias that the writer gives. For a map: the value of any key."""
    if kind(record) == "map":
        return {"name": name, "type": record["values"]}
    fields = record["fields"]
    own = [field for field in fields if called(field) == name]
    if len(own) > 1:
        raise _Misfit(f"{at} stands twice", place, "record")
    return own[0] if own else next((field for field in fields if name in field.get("aliases", ())), None)


def _unit(leaves: Sequence[Any], target: str, path: str, shape: Shape, place: Path) -> int:
    units = set()
    for leaf in leaves:
        logical = leaf.get("logicalType") if isinstance(leaf, dict) else None
        if logical in TIME_OF_WHAT:
            raise _Misfit(f"{path} is {TIME_OF_WHAT[logical]}: {target} must be a moment", place, kind(leaf))
        if kind(leaf) in _NUMBERS:
            units.add(LONG_UNITS.get(str(logical), shape.per_second))
    if len(units) > 1:
        raise _Misfit(f"{path} is a number of two units: which one is meant cannot be told", place, "union")
    return units.pop() if units else shape.per_second
