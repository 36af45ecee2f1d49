"""Makes an event of one decoded object: the values at the paths of a plan, whichever decoder read the object."""

from collections.abc import Callable, Mapping, Sequence
from sys import intern
from typing import Any, NamedTuple, TypeVar

from streamproc.codec.arrival import MAX_NAME_CHARS, Framed, check, instants, ordered, unknown
from streamproc.codec.moments import seconds
from streamproc.codec.plan import Path, ReadPlan
from streamproc.codec.values import ASTRAY, count, metadata, required, text, tools, usage
from streamproc.core.model import EventFlag, RunEvent
from streamproc.core.shape import LIST, METADATA, TIMES, TOKENS, TOOLS

T = TypeVar("T")


class TargetPath(NamedTuple):
    """A path to a target. `per_second`: a time's units per second; `is_read`: false where its value cannot be used."""

    path: Path
    per_second: int = 1
    is_read: bool = True


class Getters(NamedTuple):
    """The paths to each target, in the order in which they are tried, and the statuses of the shape."""

    places: Mapping[str, Sequence[TargetPath]]
    statuses: Mapping[str, str]
    only: frozenset[str] = frozenset()

    def value(
        self, fields: Any, target: str, read: Callable[[Any, list[EventFlag]], T | None], odd: list[EventFlag]
    ) -> T | None:
        """Return the first value for a target that can be read, None where there is none; `odd` is told of others."""
        for place in self.places.get(target, ()):
            value = _at(fields, place)
            if value is not None and (result := read(value, odd)) is not None:
                return result
        return None

    def time(self, fields: Any, target: str, odd: list[EventFlag]) -> int | None:
        """Return the first time for a target that is set, in Unix seconds."""
        for place in self.places.get(target, ()):
            value = _at(fields, place)
            if value is not None and (result := seconds(value, place.per_second, odd)) is not None:
                return result
        return None


def getters_of(plan: ReadPlan) -> Getters:
    """Return the getters for a plan's fields."""
    places = {
        target: [TargetPath(field.path, field.per_second, field.is_read) for field in fields]
        for target, fields in plan.fields.items()
    }
    return Getters(places, plan.shape.statuses, plan.shape.only)


def event_of(fields: Mapping[str, Any], framed: Framed, label: str, getters: Getters) -> RunEvent:
    """Return the event of a decoded object; raises RecordRejected (`bad_run_id`, `bad_status`, `unknown_status`)."""
    odd: list[EventFlag] = []

    def needed(target: str) -> str | None:
        return getters.value(fields, target, lambda value, _: required(value, target), odd)

    def name(target: str) -> str | None:
        return getters.value(fields, target, _name, odd)

    def shared(value: str | None) -> str | None:
        return None if value is None else intern(value)

    run_id, status = needed("id"), shared(needed("status"))
    getters.value(fields, METADATA, metadata, odd)
    values: tuple[Any, ...] = (
        run_id,
        None if status is None else getters.statuses.get(status, status),
        name("thread_id"),
        shared(name("assistant_id")),
        shared(name("model")),
        *(getters.time(fields, target, odd) for target in TIMES),
        usage(*(getters.value(fields, target, count, odd) for target in TOKENS)),
        shared(name("error_code") or None),  # An empty code means no error.
        getters.value(fields, TOOLS, tools, odd) or (),
        framed.record.key,
        instants([framed.record.timestamp])[0],
        framed.record.offset,
        label,
        framed.payload,
        ordered(odd),  # Must follow all values that are read: each of them may add flags.
        framed.partition,
    )
    event = RunEvent(*values)
    check(event)
    if getters.only and event.status not in getters.only:
        raise unknown(event.status, getters.only)
    return event


def _name(value: Any, odd: list[EventFlag]) -> str | None:
    return text(value, MAX_NAME_CHARS, odd)


def _at(fields: Any, place: TargetPath) -> Any:
    value = pick(fields, place.path)
    if place.is_read or value is None:
        return value
    if LIST in place.path and isinstance(value, list):
        return [None if item is None else ASTRAY for item in value]
    return ASTRAY


def pick(value: Any, path: Path) -> Any:
    """Return the value at a path in an object; None where there is none, ASTRAY where a value on the path is no object.

    A step LIST returns a list: the rest of the path applied to each item.
    """
    for at, step in enumerate(path):
        if step == LIST:
            if not isinstance(value, list):
                return ASTRAY
            return [None if item is None else pick(item, path[at + 1 :]) for item in value]
        if not isinstance(value, dict):
            return ASTRAY
        value = value.get(step)
        if value is None:
            return None
    return value
