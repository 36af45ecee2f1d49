"""Checks what the service would read from a writer's schema before it is deployed: for people, and for CI."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from streamproc.codec.avro import at_path, kind
from streamproc.codec.inline import Uninlinable, inlined
from streamproc.codec.plan import Field
from streamproc.codec.schemas import WriterSchema
from streamproc.core.lifecycle import Profile
from streamproc.core.shape import LIST, TARGETS, TIMES
from streamproc.errors import ConfigError, Unfit
from streamproc.escaping import escaped

UNITS = {1: "seconds", 1_000: "milliseconds", 1_000_000: "microseconds", 1_000_000_000: "nanoseconds"}


class Report(NamedTuple):
    """A report on a schema: its faults, none where it can be read; where each target is found; notes."""

    name: str
    faults: tuple[str, ...]
    found: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def with_references(document: Any, referenced: Sequence[Any]) -> Any:
    """Return a schema with its references inserted, as with those of a registry; raises ConfigError."""
    try:
        return inlined(document, referenced) if referenced else document
    except Uninlinable as error:
        raise ConfigError(f"its references cannot be put in: {error}") from None


def check(name: str, document: Any, profile: Profile) -> Report:
    """Check a schema for the values that the fold reads under a profile."""
    try:
        schema = WriterSchema(document, profile.shape)
    except Unfit as error:
        return Report(name, error.faults)
    places = tuple((target, _where(schema, target)) for target in TARGETS if target in profile.shape.paths)
    return Report(name, (), places, tuple(_notes(schema, profile)))


def _where(schema: WriterSchema, target: str) -> str:
    fields = [field for field in schema.plan.fields.get(target, ()) if field.is_read]
    absent = "not read: null" if target in schema.plan.unread else "absent: null"
    return ", else ".join(_field_text(schema, field, target) for field in fields) or absent


def _field_text(schema: WriterSchema, field: Field, target: str) -> str:
    steps = field.path[len(schema.tree.prefix) :]
    path = ".".join(map(schema.tree.called, steps)).replace(f".{LIST}", LIST)
    if target not in TIMES:
        return f"{path} ({field.kind})"
    unit = "ISO 8601" if field.kind == "string" else UNITS[field.per_second]
    return f"{path} ({field.kind}, {unit})"


def _notes(schema: WriterSchema, profile: Profile) -> Iterator[str]:
    yield f"fingerprint {schema.fingerprint}, in the order in which its bytes are sent"
    for target, why in schema.plan.unread.items():
        yield f"{target}: {why}; each record that has it is flagged, and taken without"
    statuses = {*profile.statuses, *profile.shape.statuses}
    for field in schema.plan.fields["status"]:
        enums = at_path(schema.tree.root, field.path, schema.tree.types)
        symbols = [symbol for enum in enums if kind(enum) == "enum" for symbol in enum["symbols"]]
        strangers = [symbol for symbol in symbols if symbol not in statuses]
        if strangers:
            yield f"{escaped(', '.join(strangers))}: no statuses of profile {profile.name}, it counts as active"
