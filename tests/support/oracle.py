"""What must come out, by a plain replay of the input through decoder and core: no Kafka, no batches, no restarts."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import fastavro

from streamproc.codec.arrival import Arrival
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.framing import header_of
from streamproc.codec.schemas import load
from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Moment
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, step
from tests.support.books import bundled_book

FOREVER = Retention(terminal_ms=10**15, open_ms=10**15)
NO_DEADLINES = Deadlines(overdue=False)
PLAIN = Rules(ASSISTANTS, FOREVER, NO_DEADLINES)
"""Runs are judged, and nothing else happens to them."""
NEVER_COMPARED = ("retained_from", "clock_lag_ms", "alerts", "payload")
"""Depends on when a commit happened, or on where payloads are; alerts are the business of `metrics_oracle`."""


class Expected(NamedTuple):
    """Of one input partition: ids of transitions and verdicts in order, states by run id, offsets of dead letters."""

    transitions: list[tuple[str, str | None, str, int]]
    verdicts: list[tuple[str, str, str, str, int]]
    states: dict[str, dict[str, Any]]
    dead_letters: list[int]


def replay(records: Sequence[Arrival], wall_ms: int, book: SchemaBook | None = None) -> Expected:
    """Fold the records of one partition in one go."""
    decoded = decode(records, book or bundled_book())
    state = State(PLAIN)
    outcome = step(state, decoded.events, Moment(wall_ms, caught_up=False), begin(state))
    return Expected(
        [(t.run_id, t.from_status, t.to_status, t.offset) for t in outcome.transitions],
        [(r.run_id, r.verdict, r.status_before, r.status_said, r.source_offset) for r in outcome.rulings],
        {run_id: _comparable(run) for run_id, run in outcome.runs.items()},
        [rejection.record.offset for rejection in decoded.rejections],
    )


def written(
    transitions: Iterable[Arrival],
    verdicts: Iterable[Arrival],
    states: Iterable[Arrival],
    dead_letters: Iterable[Arrival],
) -> Expected:
    """Read what the service wrote for one partition in the same form, by the reference decoder."""
    latest: dict[str, dict[str, Any]] = {}
    for record in states:
        assert record.key is not None
        if record.value is None:
            latest.pop(record.key.decode(), None)
        else:
            latest[record.key.decode()] = _record("run_state", record)
    return Expected(
        [
            (t["run_id"], t["from_status"], t["to_status"], t["source_offset"])
            for t in (_record("run_transition", record) for record in transitions)
        ],
        [
            (v["run_id"], v["verdict"], v["status_before"], v["status_said"], v["source_offset"])
            for v in (_record("run_verdict", record) for record in verdicts)
        ],
        {run_id: _of_record(state) for run_id, state in latest.items()},
        [int(dict(record.headers)["streamproc.source.offset"]) for record in dead_letters],
    )


def _record(schema: str, record: Arrival) -> dict[str, Any]:
    assert record.value is not None
    found: Any = fastavro.schemaless_reader(
        io.BytesIO(record.value[len(header_of(record.value)) :]), load(schema).parsed, None
    )
    return dict(found)


def _comparable(run: Any) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in run.__struct_fields__ if name not in NEVER_COMPARED}
    return {**fields, "required_tools": list(run.required_tools)}


def _of_record(state: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in state.items() if name not in (*NEVER_COMPARED, "source_topic")}
    found["offset"] = found.pop("source_offset")
    del found["source_partition"]
    for name in ("status_since", "first_seen_at"):
        found[name] = found[name] if isinstance(found[name], int) else round(found[name].timestamp() * 1000)
    if found["usage"] is not None:
        found["usage"] = tuple(found["usage"].values())
    return found
