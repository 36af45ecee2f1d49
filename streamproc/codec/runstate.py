"""Decodes run-state records to Runs, which a restart restores. Needs no registry (rules.md 23).

A new version of RunState adds a name to `VERSIONS`, and its new fields have defaults in `Run`. Old versions stay for as
long as such records may exist.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from streamproc.codec.arrival import Arrival, latest
from streamproc.codec.batched import Batched
from streamproc.codec.cloudevents import SCHEMA_HEADER
from streamproc.codec.framing import FRAMINGS, header_of
from streamproc.codec.rows import OFFSET, ORIGIN, RecordDecoder, kinds_of
from streamproc.codec.schemas import Schema, load, version_of, written_with
from streamproc.core.model import Run
from streamproc.errors import ConfigError, RecordRejected
from streamproc.native import module

if TYPE_CHECKING:
    from streamproc_native import LatestDecoder

VERSIONS = ("run_state", "run_state_v1")
"""Schemas by name. The first is the one that is written."""
OTHER_RELEASE = "Start a release of streamproc that wrote or can read it"
REPLAY = (
    "Stop the service and run `streamproc offsets reset --to earliest`, which rebuilds the state from what the input "
    "still holds; or start with a new application_id and new output topics"
)
WITHOUT_DEFAULT = len(Run.__struct_fields__) - len(Run.__struct_defaults__)
DEFAULTS = dict(zip(Run.__struct_fields__[WITHOUT_DEFAULT:], Run.__struct_defaults__, strict=True))
"""Defaults of the fields that an older version lacks."""
SHARED = frozenset(
    ("assistant_id", "model", "status", "error_code", "event_schema", "source_topic", "required_tools", "alerts")
)
"""Fields whose texts are the same in millions of runs."""


class Latest(NamedTuple):
    """The latest state of each key: the runs, and the ids of those with a tombstone (`gone`)."""

    runs: Sequence[Run]
    gone: Sequence[str]


def latest_runs(records: Sequence[Arrival]) -> Latest:
    """Decode the latest record of each key; raises as `decode_runs`. Records that were replaced are not decoded."""
    if module and isinstance(records, Batched) and records.parts:
        try:
            return _natively(records)
        except ValueError:
            pass  # The reference decoder says which record is wrong, and why.
    decoded = decode_runs(latest(records))
    return Latest([run for _, run in decoded if run is not None], [run_id for run_id, run in decoded if run is None])


def decode_runs(records: Sequence[Arrival]) -> list[tuple[str, Run | None]]:
    """Return each record's run id and Run, None for a tombstone, in the order given.

    Raises ConfigError for a record that is damaged, or of a version unknown to this release: no record is skipped.
    """
    decoded: dict[int, Run] = {}
    by_schema: dict[tuple[str, int], list[Arrival]] = {}
    for record in records:
        if record.value:
            by_schema.setdefault(_schema_of(record), []).append(record)
    for (name, _), group in by_schema.items():
        runs = _decode_group(group, _version(name, group[0]))
        decoded.update(zip((record.offset for record in group), runs, strict=True))
    return [_keyed(record, decoded) for record in records]


def _natively(records: Batched) -> Latest:
    gone, versions = _latest_decoder().decode(records.parts)
    runs: list[Run] = []
    for name, columns in zip(VERSIONS, versions, strict=True):
        names = [field["name"] for field in load(name).document["fields"]]
        runs += _runs(dict(zip(names, columns, strict=True)))
    return Latest(runs, list(map(_id, gone)))


def _keyed(record: Arrival, decoded: dict[int, Run]) -> tuple[str, Run | None]:
    run = decoded.get(record.offset)
    return (_id(record.key) if run is None else run.run_id), run


def _id(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")


def _schema_of(record: Arrival) -> tuple[str, int]:
    """Return the label of a record's schema, and the size of its framing in bytes."""
    try:
        return written_with(record), len(header_of(record.value))
    except RecordRejected as error:
        raise unreadable(record, str(error)) from error


def _version(name: str, record: Arrival) -> Schema:
    schema = version_of(name, VERSIONS)
    if schema is None:
        raise unreadable(record, f"schema {name} is no version of RunState that this release reads")
    return schema


def unreadable(record: Arrival, why: str, remedy: str = OTHER_RELEASE) -> ConfigError:
    """Return the error for a state record that must not be skipped."""
    return ConfigError(
        f"the state record at offset {record.offset} cannot be read: {why}. {remedy}; a state is never restored in part"
    )


def _decode_group(records: Sequence[Arrival], schema: Schema) -> list[Run]:
    try:
        columns = _decoder(schema).decode([record.value or b"" for record in records], len(header_of(records[0].value)))
    except Exception as error:  # whatever damaged bytes make a decoder raise
        if len(records) == 1:
            raise unreadable(records[0], f"it is damaged ({type(error).__name__})", REPLAY) from error
        # One of them is damaged. Decoding one at a time finds which.
        return [run for record in records for run in _decode_group([record], schema)]
    return _runs(columns)


def _runs(columns: Mapping[str, Sequence[Any]]) -> list[Run]:
    return list(map(Run, *(_column(name, columns) for name in Run.__struct_fields__)))


def _column(field: str, columns: Mapping[str, Sequence[Any]]) -> Iterable[Any]:
    """Return the values of a field of Run, or its default where the records' version lacks the field."""
    name = ORIGIN[-1] if field == OFFSET else field
    return columns[name] if name in columns else repeat(DEFAULTS[field])


@cache
def _decoder(schema: Schema) -> RecordDecoder:
    return RecordDecoder(schema, SHARED)


@cache
def _latest_decoder() -> "LatestDecoder":
    schemas = map(load, VERSIONS)
    versions = [(schema.label.encode(), schema.header, kinds_of(schema, SHARED)) for schema in schemas]
    return module.LatestDecoder(SCHEMA_HEADER, FRAMINGS, versions)  # type: ignore[no-any-return]
