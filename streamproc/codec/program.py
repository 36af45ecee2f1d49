"""The program with which the native decoder walks through payloads of one schema: what it reads, and what it skips.

A flat list of nodes, each a tuple of a name and arguments; `native/src/program.rs` says what they mean. The costs are
those of the skimmer, so that both refuse the same payloads.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from streamproc.codec.avro import Names, endless, kind
from streamproc.codec.normal import Tree
from streamproc.codec.plan import Path, ReadPlan
from streamproc.codec.weight import BRANCHES_PER_VALUE, values
from streamproc.core.shape import LIST, METADATA, NAMES, REQUIRED, TARGETS, TIMES, TOKENS, TOOLS

_LEAVES = {"int": "long", "long": "long", "float": "float", "double": "double", "string": "text", "bytes": "text"}
"""The node names of types whose value goes into slots as it is."""
_NO_NUMBERS = frozenset(("bytes",))
"""Leaves that are read as text only, never as a number."""

WORDS = (*REQUIRED, *NAMES)

Node = tuple[Any, ...]


class Read(NamedTuple):
    """A value to read: its target, the rest of the path to it, and the slot that it goes into."""

    target: str
    rest: Path
    slot: int
    is_read: bool

    @property
    def next(self) -> str | None:
        """The next step of the path; None at the end."""
        return self.rest[0] if self.rest else None

    def inside(self) -> "Read":
        """Return the same read, one step further along the path."""
        return self._replace(rest=self.rest[1:])


Reads = Sequence[Read]


class Targets(NamedTuple):
    """The slots of each target, in the order of its fields; for times, each slot with its units per second."""

    words: list[list[int]]
    times: list[list[tuple[int, int]]]
    tokens: list[list[int]]
    tools: list[int]
    metadata: list[int]


class Program(NamedTuple):
    """The nodes, the number of the root node, the count of slots, and the slots of each target.

    `cost`: the least number of values in a record.
    """

    nodes: list[Node]
    root: int
    slots: int
    targets: Targets
    cost: int


def program(tree: Tree, plan: ReadPlan) -> Program:
    """Compile the program that reads a plan's fields from payloads of a schema."""
    slots: dict[str, list[int]] = {target: [] for target in TARGETS}
    units: list[int] = []
    reads: list[Read] = []
    for target, fields in plan.fields.items():
        for field in fields:
            slots[target].append(len(reads))
            units.append(field.per_second)
            reads.append(Read(target, field.path, len(reads), field.is_read))
    compiler = _ProgramCompiler(tree.types)
    targets = Targets(
        words=[slots[target] for target in WORDS],
        times=[[(slot, units[slot]) for slot in slots[target]] for target in TIMES],
        tokens=[slots[target] for target in TOKENS],
        tools=slots[TOOLS],
        metadata=slots[METADATA],
    )
    root = compiler.place(tree.root, reads, 1)
    return Program(compiler.nodes, root, len(reads), targets, compiler.values(tree.root))


class _ProgramCompiler:
    """Makes the nodes. A type that may contain itself gets one shared node wherever nothing is read of it."""

    def __init__(self, names: Names) -> None:
        self._names = names
        without_end = endless(names)
        self._finite = {name: named for name, named in names.items() if name not in without_end}
        self.nodes: list[Node] = []
        self._bodies = {name: self._add(("null",)) for name in without_end}
        for name, at in self._bodies.items():
            self.nodes[at] = self._node(names[name], (), 0)

    def values(self, schema: Any) -> int:
        """Return the least number of values in a value of a type."""
        return values(schema, self._finite)

    def place(self, schema: Any, reads: Reads, depth: int) -> int:
        """Make the node of a type, and return its number.

        `depth`: how many types are around it, up to the nearest that may contain itself.
        """
        if kind(schema) in ("null", "union"):
            astray: Reads = ()
        else:
            astray = [read for read in reads if not self._leads_on(read, schema)]
        at = self._add(self._node(schema, [read for read in reads if read not in astray], depth))
        if any(read.target == TOOLS or self._may_pass(read, schema) for read in astray):
            return self._add(("doubtful", at))
        return self._add(("unreadable", at, [read.slot for read in astray])) if astray else at

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _leads_on(self, read: Read, schema: Any) -> bool:
        """Tell whether a value of a type, null apart, is the value to read, or may contain it."""
        of = kind(self._names.get(schema, schema) if isinstance(schema, str) else schema)
        if read.next is not None:
            containers = ("array",) if read.next == LIST and read.target == TOOLS else ("record", "map")
            return of in containers and (read.next == LIST) == (of == "array")
        if not read.is_read:
            return False
        if read.target == METADATA:
            return of == "map"
        return (of in _LEAVES and not (of in _NO_NUMBERS and read.target in (*TIMES, *TOKENS))) or of == "enum"

    def _may_pass(self, read: Read, schema: Any) -> bool:
        """Tell whether a type is a record where a map is read: the reference decoder reads both as pairs."""
        of = kind(self._names.get(schema, schema) if isinstance(schema, str) else schema)
        return read.target == METADATA and read.is_read and read.next is None and of == "record"

    def _node(self, schema: Any, reads: Reads, depth: int) -> Node:  # noqa: PLR0911  one for each kind of type
        if isinstance(schema, str) and schema in self._names:
            if schema not in self._finite:
                body = self._add(self._node(self._names[schema], reads, 0)) if reads else self._bodies[schema]
                return "nested", body, self.values(self._names[schema]) - 1, depth
            schema = self._names[schema]
        slots = [read.slot for read in reads]
        match kind(schema):
            case "union":
                extra = len(schema) // BRANCHES_PER_VALUE - 1
                return "union", [(self.place(part, reads, depth + 1), self.values(part) + extra) for part in schema]
            case "record":
                fields = [(field["type"], _behind(reads, field["name"])) for field in schema["fields"]]
                return "record", [self.place(part, inside, depth + 1) for part, inside in fields]
            case "array":
                item = schema["items"]
                return "array", self.place(item, _behind(reads, LIST), depth + 1), self.values(item), slots
            case "map":
                return self._map(schema["values"], reads, depth + 1)
            case "enum":
                return "enum", schema["symbols"], slots
            case "fixed":
                return "fixed", schema["size"]
            case "null" | "boolean" as leaf:
                return (leaf,)
            case leaf:
                return _LEAVES[leaf], slots

    def _map(self, value: Any, reads: Reads, depth: int) -> Node:
        at, cost = self.place(value, (), depth), 1 + self.values(value)
        whole = [read.slot for read in reads if read.next is None]
        keys = []
        for key in dict.fromkeys(read.next for read in reads if read.next is not None):
            inside = _behind(reads, key)
            keys.append((key.encode(), self.place(value, inside, depth), [read.slot for read in inside]))
        return "map", at, cost, whole, keys


def _behind(reads: Reads, step: str) -> Reads:
    return [read.inside() for read in reads if read.next == step]
