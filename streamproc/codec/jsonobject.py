"""JSON objects as events: the slower framing, for producers without Avro.

A pydantic model, made of the same paths as the plan of an Avro schema, checks what the fold reads; the rest of the
object may be anything. A test holds it equal to the schemas: a RunObject is the same event as Avro and as JSON.
"""

import re
from typing import Annotated, Any

from pydantic import ConfigDict, FailFast, Field, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from streamproc.codec.arrival import MAX_LONG, Framed
from streamproc.codec.framing import BOM
from streamproc.codec.plan import steps
from streamproc.codec.reading import Getters, event_of
from streamproc.codec.skim import MAX_VALUES
from streamproc.core.model import RunEvent
from streamproc.core.shape import LIST, METADATA, TIMES, TOKENS, Shape
from streamproc.errors import RecordRejected

LABEL = "json"
MAX_SHOWN = 3
_Count = Annotated[StrictInt, Field(ge=-MAX_LONG - 1, le=MAX_LONG)]
_OPEN = ConfigDict(extra="ignore")
_MARKS = b",", b"[", b"{"
"""An object holds no more values than it has of these outside its texts, and one."""


class _FirstError(FailFast):
    """Ends a list at its first bad item. Hashable, as a part of a union has to be."""

    __hash__ = object.__hash__


class JsonFormat:
    """Reads JSON objects of one shape. Has no schema, so there is nothing that a columnar decoder could take."""

    fast = None
    label = LABEL

    def __init__(self, shape: Shape) -> None:
        self._adapter = TypeAdapter(_model(_tree(shape), "RunObject"))
        self._getters = Getters(
            {target: [(steps(path), shape.per_second) for path in paths] for target, paths in shape.paths.items()},
            shape.statuses,
        )

    def read(self, framed: Framed) -> RunEvent:
        """Return the event of one object.

        Raises RecordRejected (`undecodable`, `too_complex`, and what `arrival.check` raises).
        """
        if len(framed.payload) > MAX_VALUES and _is_complex(framed.payload):
            raise RecordRejected(
                "too_complex", f"a JSON object cannot be taken: it holds more than {MAX_VALUES:,} values"
            )
        try:
            found = self._adapter.validate_json(framed.payload.removeprefix(BOM))
        except ValidationError as error:
            raise RecordRejected("undecodable", f"not a run in JSON: {_why(error)}") from None
        return event_of(found, framed, self.label, self._getters)


def _tree(shape: Shape) -> dict[str, Any]:
    """Return the paths as one tree: names to trees, LIST to what each item is, targets' types at the leaves."""
    tree: dict[str, Any] = {}
    for target, paths in shape.paths.items():
        for path in paths:
            *way, last = steps(path)
            node = tree
            for step in way:
                node = node.setdefault(step, {})
            node.setdefault(last, _leaf(target))
    return tree


def _leaf(target: str) -> Any:
    if target == METADATA:
        return Any
    if target in TIMES:
        return StrictInt | StrictFloat | StrictStr
    return _Count if target in TOKENS else StrictStr


def _model(node: Any, name: str) -> Any:
    if not isinstance(node, dict):
        return node
    if LIST in node:
        # An error for each of its items is the megabyte's worth of Python objects that they were to keep out.
        return Annotated[list[_model(node[LIST], name) | None], _FirstError()]  # type: ignore[misc]
    fields = {step: _model(inside, step) | None for step, inside in node.items()}
    model = TypedDict(name, fields, total=False)  # type: ignore[misc]
    model.__pydantic_config__ = _OPEN  # type: ignore[attr-defined]
    return model


def marked(count: int) -> re.Pattern[bytes]:
    """Return what matches a beginning with so many marks outside of texts, and makes no object on the way.

    A text without an end goes on to the end: or each quote in it would be tried as a beginning.
    """
    text = rb'"(?:[^"\\]++|\\.)*+"?+'
    return re.compile(rb'(?:(?:[^",\[{]++|%b)*+[,\[{]){%d}+' % (text, count), re.DOTALL)


_COMPLEX = marked(MAX_VALUES)


def _is_complex(payload: bytes) -> bool:
    return sum(map(payload.count, _MARKS)) >= MAX_VALUES and _COMPLEX.match(payload) is not None


def _why(error: ValidationError) -> str:
    """Say where and what, without a value."""
    flaws = error.errors(include_input=False, include_url=False, include_context=False)[:MAX_SHOWN]
    return "; ".join(f"{'.'.join(map(str, flaw['loc'])) or 'the object'}: {flaw['msg']}" for flaw in flaws)
