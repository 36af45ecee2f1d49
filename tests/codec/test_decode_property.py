"""Two decoders and a plain reading of the specification agree on every RunObject, good or broken."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.codec.arrival import Framed
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.errors import RecordRejected, RejectionReason
from streamproc.local.simulate import simulate
from tests.support.books import RUN_OBJECT_VERSIONS, bundled_book
from tests.support.runobjects import RUN_OBJECTS, SCHEMAS, Arrived, arrivals, encode, framed_objects
from tests.support.strict_avro import is_valid

MUTATIONS = 4_000
BATCH = 250


def _cut(rng, payload):
    return payload[: rng.randrange(len(payload))]


def _lengthen(rng, payload):
    return payload + rng.randbytes(rng.randint(1, 12))


def _overwrite(rng, payload):
    changed = bytearray(payload)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip(rng, payload):
    changed = bytearray(payload)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _small_number(rng, payload):
    """The bytes that lengths, counts and branches are made of."""
    changed = bytearray(payload)
    changed[rng.randrange(len(changed))] = rng.choice((0, 1, 2, 3, 0x7F, 0x80, 0x81, 0xFF))
    return bytes(changed)


def _insert(rng, payload):
    at = rng.randrange(len(payload))
    return payload[:at] + rng.randbytes(rng.randint(1, 3)) + payload[at:]


def _remove(rng, payload):
    at = rng.randrange(len(payload))
    return payload[:at] + payload[at + rng.randint(1, 3) :]


MUTATE = (_cut, _lengthen, _overwrite, _flip, _small_number, _insert, _remove)
mutations = st.randoms(use_true_random=False).map(lambda rng: lambda payload: rng.choice(MUTATE)(rng, payload))


def _reference(record, schema):
    """The reference decoder's event, or its reason."""
    try:
        return decode_one(Framed(record, record.value[len(schema.header) :]), schema)
    except RecordRejected as error:
        return error.reason


def _hold_against_each_other(schema, payloads):
    """Check each payload's fate in one batch of them all; return how many were good."""
    records = arrivals(*(schema.header + payload for payload in payloads))
    decoded = decode(records, bundled_book())
    good = {event.offset: event for event in decoded.events}
    bad = {rejection.record.offset: rejection.reason for rejection in decoded.rejections}
    assert len(decoded.events) + len(decoded.rejections) == len(records)
    assert good.keys() | bad.keys() == {record.offset for record in records}
    for record, payload in zip(records, payloads, strict=True):
        reference, valid = _reference(record, schema), is_valid(schema.document, payload)
        if record.offset in good:
            assert valid
            assert reference == good[record.offset]
        elif valid:
            assert bad[record.offset] == reference
            assert reference.startswith("bad_")
        else:
            assert bad[record.offset] in {"undecodable", "trailing_bytes"}
    return len(good)


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
@given(data=st.data())
@settings(max_examples=120)
def test_both_decoders_read_the_same_from_every_good_runobject(version, data):
    schema = SCHEMAS[version]
    found = data.draw(st.lists(RUN_OBJECTS[version], min_size=1, max_size=3))
    payloads = [encode(schema, each) for each in found]
    records = arrivals(*(schema.header + payload for payload in payloads))
    group = [Framed(record, payload) for record, payload in zip(records, payloads, strict=True)]
    decoded = decode(records, bundled_book()).events
    assert decoded == [decode_one(framed, schema) for framed in group]
    assert [(event.run_id, event.status) for event in decoded] == [(each["id"], each["status"]) for each in found]
    assert [event.payload for event in decoded] == payloads


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
@given(data=st.data())
@settings(max_examples=100)
def test_a_changed_payload_is_taken_or_refused_as_the_specification_says(version, data):
    """Also what the reference decoder alone would take (negative union branches, over-long varints, odd booleans)."""
    schema = SCHEMAS[version]
    payload = encode(schema, data.draw(RUN_OBJECTS[version]))
    mutate = data.draw(mutations)
    _hold_against_each_other(schema, [payload, *(mutate(payload) for _ in range(20)), payload])


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
def test_thousands_of_changed_real_payloads_are_taken_or_refused_as_the_specification_says(version):
    rng = Random(version)
    events = simulate(seed=1, events=200, schema_version=version, bad_ratio=0)
    schema = SCHEMAS[version]
    payloads = [event.value[len(schema.header) :] for event in events]
    good = 0
    for _ in range(MUTATIONS // BATCH):
        good += _hold_against_each_other(schema, [rng.choice(MUTATE)(rng, rng.choice(payloads)) for _ in range(BATCH)])
    assert 0.1 < good / MUTATIONS < 0.6, "both kinds have to be tried"


@given(st.lists(st.tuples(framed_objects, st.none() | mutations), max_size=30), st.data())
@settings(max_examples=120)
def test_bad_records_anywhere_leave_the_good_ones_around_them_and_are_rejected_once(drawn, data):
    """In the order of arrival, and in whatever batches they arrive."""
    values = [value if mutate is None else mutate(value) for value, mutate in drawn]
    records = arrivals(*values)
    events, rejections, *_ = decode(records, bundled_book())
    untouched = [record.offset for record, (_, mutate) in zip(records, drawn, strict=True) if mutate is None]
    offsets, refused = [event.offset for event in events], [rejection.record.offset for rejection in rejections]
    assert offsets == sorted(offsets)
    assert refused == sorted(refused)
    assert sorted(offsets + refused) == [record.offset for record in records]
    assert set(untouched) <= set(offsets)
    assert {type(rejection.reason) for rejection in rejections} <= {RejectionReason}, "a reason is a metric's label"
    cut = data.draw(st.integers(0, len(records)))
    first, second = decode(records[:cut], bundled_book()), decode(records[cut:], bundled_book())
    assert first.events + second.events == events
    assert first.rejections + second.rejections == rejections


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: SCHEMAS["v1"].header + rest) | st.none())
def test_any_value_at_all_is_an_event_or_a_rejection(value):
    events, rejections, *_ = decode([Arrived(3, value)], bundled_book())
    assert len(events) + len(rejections) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64, 65, 300])
def test_bad_records_are_found_at_every_place_of_a_batch(size):
    rng = Random(size)
    value = next(simulate(seed=1, events=1)).value
    for share in (0.01, 0.1, 0.5, 1):
        bad = {at for at in range(size) if rng.random() < share} or {rng.randrange(size)}
        records = arrivals(*(value[:-5] if at in bad else value for at in range(size)))
        events, rejections, *_ = decode(records, bundled_book())
        assert [event.offset for event in events] == [records[at].offset for at in range(size) if at not in bad]
        assert [rejection.record for rejection in rejections] == [records[at] for at in sorted(bad)]
