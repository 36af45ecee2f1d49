"""One chunk of cases through both codecs and the whole step; what must hold for each, whatever it is.

Both: the native one and the reference. Where the native one is absent, the reference is held against itself.
"""

import faulthandler
from collections import Counter
from collections.abc import Sequence
from random import Random
from traceback import format_exception
from typing import Any

from streamproc.codec.arrival import Framed, Rejection
from streamproc.codec.book import SchemaBook
from streamproc.codec.deadletter import dead_letter
from streamproc.codec.decode import decode
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.message import Messages
from streamproc.codec.reference import decode_one, skim
from streamproc.codec.rows import RecordDecoder
from streamproc.codec.runstate import SHARED, Latest, latest_runs
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.deadlines import Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Moment, Run, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.core.tally import ANOMALIES
from streamproc.errors import RecordRejected, RejectionReason
from streamproc.native import module
from streamproc.runtime.aio.batches import Batches
from tests.fuzz.cases import START_MS, cases, changed_schema, mutated, named, schemas_of, value_of
from tests.fuzz.producers import Producer
from tests.support.batched import batched
from tests.support.native import pure
from tests.support.oddschemas import dangers
from tests.support.runobjects import Arrived, arrivals, encode

CHUNK = 500
HANG_S = 120
"""A chunk takes about a tenth of a second."""
BATCH = 125
SCHEMAS_PER_CHUNK, PRODUCERS_PER_CHUNK, RUNS_OF_A_PRODUCER = 2, 2, 12
SOURCE, PRODUCER = OutputSource("fuzz", "run-events", 0), (7, 3)
ENCODER = OutputEncoder(SOURCE)
with pure():
    REFERENCE = OutputEncoder(SOURCE)
    REFERENCE_DECODER = RecordDecoder(load("run_state"), SHARED)
DECODER = RecordDecoder(load("run_state"), SHARED)
DAY_MS = 86_400_000


class Failed(Exception):
    """A chunk failed; the text says which, and how. An error of its own may not survive the way between processes."""


def guarded_chunk(seed: int) -> Counter[str]:
    """Run a chunk; raises Failed. One that hangs ends the process with its traceback on stderr."""
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        return run_chunk(seed)
    except BaseException as error:  # noqa: BLE001  a panic of Rust's is no Exception
        raise Failed(f"seed {seed}: {''.join(format_exception(error))}") from None
    finally:
        faulthandler.cancel_dump_traceback_later()


def run_chunk(seed: int) -> Counter[str]:
    """Run the cases of a seed; raises AssertionError, or whatever the code under test let out."""
    profile, values = cases(seed, CHUNK)
    book = SchemaBook(schemas_of(profile), profile.shape)
    rules = Rules(profile, Retention(DAY_MS, 7 * DAY_MS), Deadlines(limits={"queued": 1_000}))
    state, found = State(rules), Counter[str]()
    for start in range(0, CHUNK, BATCH):
        records = arrivals(*values[start : start + BATCH])
        decoded = decode(records, book)
        _hold(records, decoded.events, decoded.rejections, profile)
        _fold(state, decoded.events)
        found.update(rejection.reason for rejection in decoded.rejections)
        found["taken"] += len(decoded.events)
    found["schemas"] += _try_schemas(Random(seed), profile, [value for value in values if value])
    found["producers"] += sum(_try_producer(Random(f"{seed} {number}")) for number in range(PRODUCERS_PER_CHUNK))
    return found


def _hold(
    records: Sequence[Arrived], events: Sequence[RunEvent], rejections: Sequence[Rejection], profile: Profile
) -> None:
    """Each record is in one of the two, in order; the reference decoder says the same of it, and reads the same."""
    good = {event.offset: event for event in events}
    bad = {rejection.record.offset: rejection for rejection in rejections}
    assert len(good) == len(events)
    assert sorted([*good, *bad]) == [record.offset for record in records]
    schemas = {schema.header: schema for schema in schemas_of(profile)}
    for record in records:
        schema = schemas.get((record.value or b"")[:10])
        if record.offset in bad:
            _hold_rejection(bad[record.offset])
        if schema is not None:
            alone = _alone(record, schema, (record.value or b"")[10:])
            assert alone == (good[record.offset] if record.offset in good else _said(bad[record.offset]))


def _hold_rejection(rejection: Rejection) -> None:
    assert isinstance(rejection.reason, RejectionReason), rejection.reason
    assert rejection.message.isprintable(), "a message must not steer a terminal"
    key, value, _, headers = dead_letter(rejection, "run-events", 0, START_MS)
    assert (key, value) == (rejection.record.key, rejection.record.value)
    assert headers


def _said(rejection: Rejection) -> tuple[str, str]:
    return rejection.reason, rejection.message


def _alone(record: Arrived, schema: WriterSchema, payload: bytes) -> RunEvent | tuple[str, str]:
    """Return the reference's event, or why it is none."""
    framed = Framed(record, payload)
    try:
        skim(framed, schema)
    except RecordRejected as error:
        return error.reason, str(error)
    try:
        return decode_one(framed, schema)
    except RecordRejected as error:
        refused = error
    assert refused.reason in {"bad_run_id", "bad_status"}, "only these two fields can cost an event"
    return refused.reason, str(refused)


def _fold(state: State, events: Sequence[RunEvent]) -> None:
    """The whole step, and its outputs by both codecs; its sums add up."""
    at = Moment(START_MS + 3_600_000, caught_up=True)
    out = step(state, events, at, begin(state))
    assert sum(out.tally.verdicts.values()) == len(events)
    assert set(out.tally.anomalies) <= set(ANOMALIES)
    pass_time(state, at, out)
    runs = state.whole([run for run in out.runs.values() if run is not None])
    _hold_messages(*(each.transitions(out.transitions, at.wall_ms) for each in (ENCODER, REFERENCE)))
    _hold_messages(*(each.states(runs, at.wall_ms, out.causes, 1) for each in (ENCODER, REFERENCE)))
    _hold_restored(ENCODER.states(runs, at.wall_ms), runs)
    state.merge(out)


def _hold_messages(found: Messages, expected: Messages) -> None:
    """The same messages, and the same batches of them."""
    assert list(found) == expected
    codec = ("none", "lz4", "zstd", "snappy")[len(expected) % 4]
    batches = list(Batches(codec, PRODUCER).of(0, found))
    with pure():
        assert batches == list(Batches(codec, PRODUCER).of(0, expected))


def _hold_restored(states: Messages, runs: Sequence[Run]) -> None:
    """What a restart reads is what there was, by both codecs."""
    values = [value or b"" for _, value, _, _ in states]
    columns, expected = (each.decode(values, SINGLE_OBJECT_BYTES) for each in (DECODER, REFERENCE_DECODER))
    assert {name: list(column) for name, column in columns.items()} == expected
    assert columns["run_id"] == [run.run_id for run in runs]
    if module is not None:
        assert latest_runs(batched(list(states))) == Latest(runs, [])


def _load(document: Any, profile: Profile) -> WriterSchema | RecordRejected:
    try:
        return WriterSchema(document, profile.shape, b"\x00\x00\x00\x00\x07", "id 7")
    except RecordRejected as error:
        return error


def _try_schemas(rng: Random, profile: Profile, values: Sequence[bytes]) -> int:
    """A changed schema is refused, or whatever is read by it is a run or a rejection."""
    fit = 0
    for _ in range(SCHEMAS_PER_CHUNK):
        document = changed_schema(rng, rng.choice(schemas_of(profile)).document)
        schema = _load(document, profile)
        if not isinstance(schema, WriterSchema):
            assert schema.reason == "unfit_schema"
            assert str(schema).isprintable()
            continue
        fit += 1
        _hold_schema(schema, profile, [value[10:] for value in rng.sample(values, 20)])
    return fit


def _try_producer(rng: Random) -> bool:
    """Whatever a producer writes with: it is refused for a reason, or the decoders agree on all of its runs."""
    run = Producer(rng).document()
    document = rng.choice((["null", run], [run, "null"])) if rng.random() < 0.1 else run
    schema = _load(document, ASSISTANTS)
    if not isinstance(schema, WriterSchema):
        assert schema.reason == "unfit_schema"
        assert dangers(document), "nothing that is read but the id and the status makes a schema unfit"
        return False
    good = [encode(schema, named(rng, value_of(rng, run, {}))) for _ in range(RUNS_OF_A_PRODUCER)]
    _hold_schema(schema, ASSISTANTS, [*good, *(mutated(rng, payload) for payload in good)])
    return True


def _hold_schema(schema: WriterSchema, profile: Profile, payloads: Sequence[bytes]) -> None:
    records = arrivals(*(schema.header + payload for payload in payloads))
    decoded = decode(records, SchemaBook([schema], profile.shape))
    assert len(decoded.events) + len(decoded.rejections) == len(records)
    taken = {event.offset: event for event in decoded.events}
    refused = {rejection.record.offset: _said(rejection) for rejection in decoded.rejections}
    for record, payload in zip(records, payloads, strict=True):
        alone = _alone(record, schema, payload)
        assert alone == (taken[record.offset] if record.offset in taken else refused[record.offset])
