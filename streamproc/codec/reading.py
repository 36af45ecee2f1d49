"""From one decoded object to an event: the values at the paths of a plan, whichever decoder found them."""

from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any, NamedTuple

from streamproc.codec.arrival import MAX_TOOLS, Framed, check, flags, instants, seconds, usage
from streamproc.codec.plan import Path, Plan
from streamproc.core.model import RunEvent
from streamproc.core.shape import LIST, METADATA, TIMES, TOKENS, TOOLS


class Getters(NamedTuple):
    """Where to look: for each target its paths, in the order in which they are tried, and the unit of a time there."""

    places: Mapping[str, Sequence[tuple[Path, int]]]
    statuses: Mapping[str, str]

    def value(self, found: Any, target: str) -> Any:
        """Return what an object holds for a target, None where it does not."""
        for path, _ in self.places.get(target, ()):
            if (value := pick(found, path)) is not None:
                return value
        return None

    def time(self, found: Any, target: str) -> int | None:
        """Return a time in Unix seconds, UNREADABLE where it is none."""
        for path, per_second in self.places.get(target, ()):
            if (value := pick(found, path)) is not None:
                return seconds(value, per_second)
        return None


def getters_of(plan: Plan) -> Getters:
    """Return a plan's paths."""
    places = {target: [(field.path, field.per_second) for field in fields] for target, fields in plan.fields.items()}
    return Getters(places, plan.shape.statuses)


def event_of(found: Mapping[str, Any], framed: Framed, label: str, getters: Getters) -> RunEvent:
    """Return the event of a decoded object; raises what `arrival.check` raises, UnicodeDecodeError for bytes."""

    def text(target: str) -> str | None:
        value = getters.value(found, target)
        return value.decode() if isinstance(value, bytes) else value

    def shared(target: str) -> str | None:
        value = text(target)
        return None if value is None else intern(value)

    status, metadata = shared("status"), getters.value(found, METADATA)
    tools = [name for name in getters.value(found, TOOLS) or () if name is not None]
    values: tuple[Any, ...] = (
        text("id"),
        None if status is None else getters.statuses.get(status, status),
        text("thread_id"),
        shared("assistant_id"),
        shared("model"),
        *(getters.time(found, target) for target in TIMES),
        usage(*(getters.value(found, target) for target in TOKENS)),
        shared("error_code"),
        tuple(intern(name.decode() if isinstance(name, bytes) else name) for name in tools[:MAX_TOOLS]),
        framed.record.key,
        instants([framed.record.timestamp])[0],
        framed.record.offset,
        label,
        framed.payload,
        flags(metadata.items() if isinstance(metadata, dict) else (), len(tools)),
    )
    event = RunEvent(*values)
    check(event)
    return event


def pick(value: Any, path: Path) -> Any:
    """Return what stands at a path, None where it leads nowhere."""
    for at, step in enumerate(path):
        if step == LIST:
            return [pick(item, path[at + 1 :]) for item in value] if isinstance(value, list) else None
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
