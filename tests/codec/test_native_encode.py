"""What the native codec writes is what the reference writes, byte for byte; what it cannot take is no panic."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.rows import RecordDecoder, RecordEncoder
from streamproc.codec.runstate import SHARED
from streamproc.codec.schemas import Schema, load
from streamproc.codec.verdicts import VerdictEncoder
from streamproc.core.model import Ruling
from streamproc.core.step import CLOCK
from streamproc.native import module
from tests.codec.test_alerts import found_alerts
from tests.codec.test_encode import transitions
from tests.support.native import needs_native, pure
from tests.support.runobjects import LONGEST, counts, instants, longs, names, runs, seconds, texts

pytestmark = needs_native

SOURCE = OutputSource("app", "rün-events", 3)
WALL_MS = 1_800_000_000_000
whole_runs = st.builds(
    replace,
    runs,
    attempt=counts,
    previous_end=seconds,
    stream_lag_ms=longs,
    clock_lag_ms=longs,
)
rulings = st.builds(
    Ruling,
    run_id=texts,
    verdict=texts,
    status_before=texts,
    status_said=texts,
    occurred_at=instants,
    reason=texts,
    source_offset=counts,
    attempt=counts,
)


class Both(NamedTuple):
    """The same encoder, of either path."""

    native: Any
    reference: Any


def both(make: Callable[[], Any]) -> Both:
    """Make something of either path."""
    with pure():
        reference = make()
    return Both(make(), reference)


OUTPUTS = both(lambda: OutputEncoder(SOURCE))
ALERTS = both(lambda: AlertEncoder("app"))
VERDICTS = both(lambda: VerdictEncoder("app"))


@given(st.lists(transitions, max_size=4), instants)
def test_transitions_are_the_same_messages(changes, wall_ms):
    native = OUTPUTS.native.transitions(changes, wall_ms)
    assert isinstance(native, module.Records)
    assert list(native) == OUTPUTS.reference.transitions(changes, wall_ms)


@given(st.lists(whole_runs, max_size=4, unique_by=lambda run: run.run_id), st.data())
def test_states_are_the_same_messages_whatever_caused_them(states, data):
    causes = {run.run_id: data.draw(st.none() | st.just(CLOCK) | counts) for run in states}
    causes = {run_id: cause for run_id, cause in causes.items() if cause is not None}
    native, reference = (each.states(states, WALL_MS, causes, 9) for each in OUTPUTS)
    assert isinstance(native, module.Records)
    assert list(native) == reference


@given(st.lists(rulings, max_size=3), st.lists(found_alerts, max_size=3), st.sampled_from((None, SOURCE)))
def test_verdicts_and_alerts_are_the_same_messages(ruled, alerts, source):
    assert [*VERDICTS.native.messages(ruled, WALL_MS, SOURCE)] == VERDICTS.reference.messages(ruled, WALL_MS, SOURCE)
    assert ALERTS.native.messages(alerts, WALL_MS, source) == ALERTS.reference.messages(alerts, WALL_MS, source)


@pytest.mark.parametrize("at", [-LONGEST - 1, -1, 0, 951_782_400_000, 1_709_164_800_000, 253_402_300_799_999, LONGEST])
def test_a_time_at_the_edge_of_the_calendar_is_shown_alike(at):
    ruling = Ruling("r", "stale", "a", "b", at, "ended", 7)
    native, reference = (each.messages([ruling], LONGEST, SOURCE) for each in VERDICTS)
    assert list(native) == reference


@given(st.integers(0, 253_402_300_799_999))
@settings(max_examples=300)
def test_every_time_is_shown_alike(at):
    ruling = Ruling("r", "stale", "a", "b", at, "ended", 7)
    native, reference = (each.messages([ruling], WALL_MS, SOURCE) for each in VERDICTS)
    assert list(native) == reference


class Everything(Struct):
    """A field of each kind."""

    flag: bool
    number: int
    share: float
    text: str
    raw: bytes
    maybe: str | None
    several: tuple[str | None, ...]
    inside: tuple[int, str, tuple[float, ...]] | None


def _record(name: str, **types: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in types.items()]}


INSIDE = _record("Inside", a="int", b="string", c={"type": "array", "items": "double"})
EVERYTHING = Schema(
    _record(
        "Everything",
        inside=["null", INSIDE],
        flag="boolean",
        several={"type": "array", "items": ["null", "string"]},
        number="long",
        share="double",
        text="string",
        raw="bytes",
        maybe=["null", "string"],
    )
)
doubles = st.floats(allow_nan=False)
everything = st.builds(
    Everything,
    flag=st.booleans(),
    number=longs,
    share=doubles,
    text=texts,
    raw=st.binary(max_size=200),
    maybe=names,
    several=st.lists(names, max_size=4).map(tuple),
    inside=st.none() | st.tuples(longs, texts, st.lists(doubles, max_size=3).map(tuple)),
)
ENCODERS = both(lambda: RecordEncoder(EVERYTHING, Everything))
DECODERS = both(lambda: RecordDecoder(EVERYTHING, {"text", "several"}))


@given(st.lists(everything, max_size=5))
def test_a_record_of_any_kind_is_the_same_bytes_and_comes_back_as_it_was(structs):
    """In the schema's order, which is not the struct's."""
    native, reference = (each.encode(structs) for each in ENCODERS)
    assert native == reference
    for decoder in DECODERS:
        columns = decoder.decode(native, SINGLE_OBJECT_BYTES)
        assert {name: list(column) for name, column in columns.items()} == {
            field["name"]: [getattr(struct, field["name"]) for struct in structs]
            for field in EVERYTHING.document["fields"]
        }


def test_texts_that_are_shared_are_one_object_by_either_decoder():
    values = ENCODERS.native.encode([Everything(True, 1, 0.5, "a text", b"", None, ("a text",), None)] * 2)
    for decoder in DECODERS:
        columns = decoder.decode(values, SINGLE_OBJECT_BYTES)
        assert len({id(text) for text in [*columns["text"], *columns["several"][0], *columns["several"][1]]}) == 1


def _read(decoder: RecordDecoder, values: Sequence[bytes]) -> Any:
    """The columns, None where the records are refused."""
    try:
        return {name: list(column) for name, column in decoder.decode(values, SINGLE_OBJECT_BYTES).items()}
    except Exception:  # noqa: BLE001  but no panic
        return None


def _changed(data: st.DataObject, value: bytes) -> bytes:
    at = data.draw(st.integers(SINGLE_OBJECT_BYTES, len(value)))
    size = data.draw(st.integers(0, 2))
    odd = st.sampled_from((b"\x00", b"\x01", b"\x02", b"\x03", b"\x7f", b"\x80", b"\xff", b"\xff" * 9 + b"\x01"))
    return value[:at] + data.draw(odd | st.binary(max_size=3)) + value[at + size :]


@given(everything, st.data())
@settings(max_examples=500)
def test_a_damaged_record_is_refused_by_both_decoders_or_by_none(struct, data):
    """And where it is another one, they read the same."""
    [value] = ENCODERS.native.encode([struct])
    changed = _changed(data, value)
    native, reference = (_read(each, [value, changed]) for each in DECODERS)
    assert repr(native) == repr(reference), "by their text: NaN is no NaN"


STATES = both(lambda: RecordDecoder(load("run_state"), SHARED))


@given(whole_runs, st.data())
@settings(max_examples=200)
def test_a_damaged_state_is_refused_by_both_decoders_or_by_none(run, data):
    [(_, value, _, _)] = OUTPUTS.native.states([run], WALL_MS)
    assert _read(STATES.native, [value]) == _read(STATES.reference, [value]) is not None
    changed = _changed(data, value)
    assert _read(STATES.native, [changed]) == _read(STATES.reference, [changed])


@pytest.mark.parametrize("cut", [*range(SINGLE_OBJECT_BYTES, 40), -2, -1])
def test_a_record_that_ends_early_or_late_is_refused_by_both(cut):
    [value] = ENCODERS.native.encode([Everything(True, 1, 0.5, "abc", b"raw", "x", ("a", None), (1, "b", (0.5,)))])
    assert len(value) > 40
    assert [_read(decoder, [value[:cut]]) for decoder in DECODERS] == [None, None]
    assert [_read(decoder, [value + b"\x00"]) for decoder in DECODERS] == [None, None]


GOOD = Everything(True, 1, 0.5, "abc", b"raw", "x", ("a", None), (1, "b", (0.5,)))
WRONG = (
    *({"flag": "x"}, {"flag": None}, {"number": "1"}, {"number": 1.5}, {"number": None}, {"number": 2**63}),
    *({"number": -(2**63) - 1}, {"share": "x"}, {"share": None}, {"text": 1}, {"text": b"x"}, {"text": "\ud800"}),
    *({"raw": "x"}, {"raw": None}, {"maybe": 1}, {"several": None}, {"several": (1,)}, {"several": "ab"}),
    *({"inside": (1, "b")}, {"inside": 7}, {"inside": (1, "b", (0.5,), 2)}, {"inside": (1, 2, ())}),
)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_is_of_another_type_is_an_ordinary_error(wrong):
    """Never a panic, which would end the service: pyo3's is no Exception. Nothing is half written afterwards."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        ENCODERS.native.encode([GOOD, replace(GOOD, **wrong)])
    assert ENCODERS.native.encode([GOOD]) == ENCODERS.reference.encode([GOOD])


ORDINARY = TypeError, ValueError, OverflowError, AttributeError, IndexError
ANYTHING = st.recursive(
    st.none() | st.booleans() | longs | doubles | texts | st.binary(max_size=5) | st.integers(2**63, 2**70),
    lambda inside: st.lists(inside, max_size=3) | st.lists(inside, max_size=3).map(tuple),
    max_leaves=5,
)


class _Anything(NamedTuple):
    name: Any
    inside: Any


kinds = st.recursive(
    st.builds(_Anything, st.sampled_from(("long", "string", "bytes", "array", "optional", "x")), st.just(())),
    lambda inside: st.builds(
        _Anything, st.sampled_from(("record", "array", "optional")), st.lists(inside, max_size=3).map(tuple)
    ),
    max_leaves=6,
)
"""Kinds as `rows.Kind` has them, and what is none."""


@given(
    st.lists(st.tuples(kinds | ANYTHING, st.integers(0, 9)), max_size=3),
    st.lists(st.lists(ANYTHING, max_size=4).map(tuple) | ANYTHING, max_size=3),
    st.lists(ANYTHING, max_size=2).map(tuple) | ANYTHING,
)
@settings(max_examples=400)
def test_nothing_that_is_given_to_the_native_encoder_or_decoder_is_a_panic(fields, rows, more):
    values = [b"\x00\x02a", b"\xff" * 12]
    with suppress(*ORDINARY):
        values = module.RowEncoder(b"", fields).encode(rows, more)
    with suppress(*ORDINARY):
        module.RowDecoder([(*field[:1], True) for field in fields]).decode(values, 0)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_nothing_that_is_given_to_the_native_events_is_a_panic(places, headers, ids, wall_ms):
    events = CloudEvents("x", "y", "z").fixed
    rows = module.RowEncoder(b"", [])
    for wrong in ((places, events), ([0, 1, 2], headers), ([9, 9, 9], events)):
        with suppress(*ORDINARY):
            module.EventEncoder(rows, *wrong).encode([("r", 1, 2)], (), b"p", {}, 1)
    encoder = module.EventEncoder(rows, [0, 1, 2], events)
    for row in (("r", 1, 2), ("r", "x", 2), (1, 2, 3), ("\ud800", 1, 2), ("r", 2**63, 2), ()):
        with suppress(*ORDINARY):
            encoder.encode([row], (), b"p", ids if isinstance(ids, dict) else {}, wall_ms)
