"""Where a writer's schema holds what the fold reads: found once, when a schema is seen for the first time.

Fields are found by name, else by an alias that the writer gives; unions in any order; what is absent is null. What is
there but cannot be read is a fault of the schema where it is the id or the status. Anything else is null, and each
record that has it says so.
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
"""Names of fields one inside the other, LIST where each item of a list is meant."""


class Field(NamedTuple):
    """Where a target is found.

    `per_second`: how many of a time's units make a second, where it is a plain number; `kind`: the type that it has
    beside null, `union` for several; `is_read`: false where what is there is of no use, but is seen.
    """

    path: Path
    kind: str
    per_second: int
    is_read: bool = True


class ReadPlan(NamedTuple):
    """Where the records of one schema hold what is read: each target's fields, of which the first with a value counts.

    `unread`: for targets of which something cannot be read, why.
    """

    fields: Mapping[str, tuple[Field, ...]]
    shape: Shape
    unread: Mapping[str, str]


class _Misfit(Exception):
    """A field that cannot be read; what is there at `place` is of no use."""

    def __init__(self, why: str, place: Path, found: str) -> None:
        super().__init__(why)
        self.place = place
        self.kind = found


class _AbsentField(Exception):
    """A field that is not there, or always null."""


def steps(path: str) -> Path:
    """Return the steps of a path as a profile writes it: `calls[].name` is `calls`, LIST, `name`."""
    return tuple(step for name in path.split(".") for step in ((name[:-2], LIST) if name.endswith(LIST) else (name,)))


def make_plan(tree: Tree, shape: Shape) -> tuple[ReadPlan, list[str]]:
    """Return where a schema, one that is safe, holds what is read; and its faults: with any, it cannot be used."""
    search = _Search(tree.types)
    fields: dict[str, tuple[Field, ...]] = {}
    faults: list[str] = []
    unread: dict[str, str] = {}
    for target, paths in shape.paths.items():
        found: list[Field] = []
        misfits: list[str] = []
        lacks = set[str]()
        for path in paths:
            try:
                field, odd = _find(search, tree.top, target, path, shape)
            except _Misfit as error:
                misfits.append(str(error))
                found.append(Field(error.place, error.kind, 1, is_read=False))
            except _AbsentField as error:
                lacks.add(str(error))
            else:
                found += [] if field is None else [field]
                misfits += odd
        if target in REQUIRED:
            if not found:
                misfits.append(f"{' or '.join(paths)} is {' or '.join(sorted(lacks))}")
            faults += misfits
        elif misfits:
            unread[target] = "; ".join(dict.fromkeys(misfits))
        if found:
            fields[target] = tuple(field._replace(path=(*tree.prefix, *field.path)) for field in found)
    return ReadPlan(fields, shape, unread), list(dict.fromkeys(faults))


def _find(search: "_Search", schema: Any, target: str, path: str, shape: Shape) -> tuple[Field | None, list[str]]:
    """Return where a path leads, and what of it cannot be read; None to metadata whose names the schema always has.

    Raises _Missing, _Misfit.
    """
    found = search.leaves(schema, steps(path), (), "")
    places = [place for place, _ in found]
    if len(set(places)) > 1:
        raise _Misfit(f"{path} has another name in each branch of a union", _shared(places), "union")
    [place, *_], leaves = zip(*found, strict=True)
    kinds = [kind(leaf) for leaf in leaves]
    said = kinds[0] if len(kinds) == 1 else "union"
    accepted, words = _WANTED[target]
    per_second = _unit(leaves, target, path, shape, place) if target in TIMES else 1
    wrong = [each for each in kinds if each not in accepted]
    why = [f"{path} is {' or '.join(wrong)}: it must be {words}"] if wrong else []
    # What a fixed holds would pass for bytes.
    if len(wrong) == len(kinds) or "fixed" in wrong or (wrong and target in REQUIRED):
        raise _Misfit(why[0], place, said)
    if target == METADATA and "map" not in kinds and not wrong:
        return None, why
    return Field(place, said, per_second), why


def _shared(places: Sequence[Path]) -> Path:
    """Return the steps that places have in common."""
    same = takewhile(lambda each: len(set(each)) == 1, zip(*places, strict=False))
    return tuple(each[0] for each in same)


class _Search:
    """The way along one path."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def leaves(self, schema: Any, rest: Path, place: Path, at: str) -> list[tuple[Path, Any]]:
        """Return the types that the end of the path may have beside null, each with the names that the writer uses.

        Raises _Missing where there is none, _Misfit.
        """
        found = branches(schema, self._names)
        if not found:
            raise _AbsentField("always null")
        if not rest:
            return [(place, leaf) for leaf in found]
        wanted = ("array",) if rest[0] == LIST else ("map", *RECORDS)
        matching = [branch for branch in found if kind(branch) in wanted]
        if not matching:
            what = "a list" if rest[0] == LIST else "a record or a map"
            kinds = " or ".join(map(kind, found))
            raise _Misfit(f"{at or 'it'} is {kinds}: it must be {what}", place, kind(found[0]))
        if rest[0] == LIST:
            return self.leaves(matching[0]["items"], rest[1:], (*place, LIST), f"{at}[]")
        return self._inside(matching, rest, place, f"{at}.{rest[0]}" if at else rest[0])

    def _inside(self, records: Sequence[Any], rest: Path, place: Path, at: str) -> list[tuple[Path, Any]]:
        """Look in each record, or map; what one of them lacks is null there."""
        found: list[tuple[Path, Any]] = []
        lack = _AbsentField("missing")
        fields = [_field(record, rest[0], place, at) for record in records]
        names = {field["name"] for field in fields if field is not None}
        for record, field in zip(records, fields, strict=True):
            if field is None:
                if any(other["name"] in names for other in record["fields"]):
                    why = f"{at} has a name that means something else in another branch of a union"
                    raise _Misfit(why, place, "union")
            else:
                try:
                    found += self.leaves(field["type"], rest[1:], (*place, field["name"]), at)
                except _AbsentField as error:
                    lack = error
        if not found:
            raise lack
        return found


def _field(record: Any, name: str, place: Path, at: str) -> Any | None:
    """Return a record's field by its name, else by an alias that the writer gives it; of a map the value of a key."""
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
