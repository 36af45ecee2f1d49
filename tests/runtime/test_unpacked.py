"""Native or by aiokafka, an answer's records are the same, and so is where its reading goes on."""

import struct

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.codec.batched import Batched
from streamproc.runtime.aio import fetched
from streamproc.runtime.aio.batches import CODECS
from streamproc.runtime.aio.fetched import Records, Unpacked
from streamproc.runtime.aio.headernames import AnyNamesBuilder, Damaged, RereadableBatches
from streamproc.runtime.aio.patches import install
from streamproc.runtime.ports import TopicPartition
from tests.support.native import needs_native

pytestmark = needs_native
PLACE = TopicPartition("t", 0)
ATTRIBUTES_AT, CRC_AT, LAST_AT, HEAD_BYTES = 21, 17, 23, 61
TRANSACTIONAL, CONTROL, APPEND_TIME = 0x10, 0x20, 0x08
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"

contents = st.none() | st.binary(max_size=30)
names = st.sampled_from(("ce_id", "", "größe", "\udcff"))
records = st.tuples(
    contents, contents, st.integers(0, 2**41), st.lists(st.tuples(names, contents), max_size=3).map(tuple)
)


@st.composite
def answers(draw):
    """Batches one behind the other, with gaps as compaction leaves them; aborted transactions; where to begin.

    That is in the first batch: a broker's answer begins with the one that holds the offset asked for.
    """
    data, aborted, at = bytearray(), [], draw(st.integers(0, 10))
    position, covered = None, []
    for _ in range(draw(st.integers(1, 6))):
        producer, kind = draw(st.integers(1, 2)), draw(st.sampled_from(("plain", "transaction", "abort", "commit")))
        if kind in {"abort", "commit"}:
            made = [(ABORT if kind == "abort" else COMMIT, b"\x00" * 6, 5, ())]
        else:
            made = draw(st.lists(records, min_size=1, max_size=4))
        if kind == "transaction" and draw(st.booleans()):
            aborted.append((producer, at))
        codec = draw(st.sampled_from(sorted(CODECS.values()))) if kind in {"plain", "transaction"} else 0
        batch = _batch(made, at, codec, producer if kind != "plain" else -1)
        batch[ATTRIBUTES_AT + 1] |= {"plain": 0, "transaction": TRANSACTIONAL}.get(kind, TRANSACTIONAL | CONTROL)
        batch[ATTRIBUTES_AT + 1] |= draw(st.sampled_from((0, APPEND_TIME))) if kind == "plain" else 0
        last = len(made) - 1 + draw(st.integers(0, 2))
        position = draw(st.integers(at, at + last)) if position is None else position
        struct.pack_into(">i", batch, LAST_AT, last)
        _stamp(batch)
        covered += range(len(data) + CRC_AT, len(data) + len(batch))
        data += batch
        at += last + 1 + draw(st.integers(0, 2))
    if draw(st.booleans()):  # Of what is in front of the checksum brokers are believed.
        data[draw(st.sampled_from(covered))] = draw(st.integers(0, 255))
    if draw(st.booleans()):  # Most answers end with a batch that is cut.
        data = data[: -draw(st.integers(1, len(batch) - 1))] if len(data) > len(batch) else data
    return bytes(data), aborted, position


def _batch(made, at, codec, producer):
    builder = AnyNamesBuilder(1 << 20, codec)
    for key, value, timestamp, headers in made:
        assert builder.append(timestamp=timestamp, key=key, value=value, headers=headers) is not None
    builder._set_producer_state(producer, 0, 0)
    batch = bytearray(builder._build())
    batch[:8] = at.to_bytes(8)
    batch[ATTRIBUTES_AT + 1] &= 0x07
    return batch


def _stamp(batch):
    struct.pack_into(">I", batch, CRC_AT, calc_crc32c(bytes(batch[ATTRIBUTES_AT:])))
    return bytes(batch)


def _read(source, most):
    """All that comes, part by part, and what is wrong at the end."""
    parts = []
    while True:
        found = Batched()
        try:
            is_over = source.take(most, found)
        except Damaged as damage:
            return [*parts, *found], (damage.first, damage.last, type(damage.why)), source.next_fetch_offset
        parts += found
        if is_over:
            return parts, None, source.next_fetch_offset


@pytest.fixture(autouse=True, scope="module")
def _patched():
    install()


@given(answers(), st.sampled_from((1, 2, 3, 100)))
@settings(max_examples=600, deadline=None)
def test_any_answer_is_read_alike(answer, most):
    """Records, where the next fetch begins, and which batch is damaged, and why."""
    data, aborted, position = answer
    native = _read(Unpacked(PLACE, data, list(aborted), position), most)
    assert native == _read(Records(PLACE, RereadableBatches(data), list(aborted), position), most)


def test_what_is_sound_is_not_left_to_the_slower_reader(monkeypatch):
    """Else all of it could be."""
    monkeypatch.setattr(fetched, "Records", None)
    builder = BatchBuilder(1 << 20, CODECS["lz4"])
    for number in range(5):
        builder.append(timestamp=number, key=b"k", value=b"v" * 50, headers=[("ce_id", b"x")])
    found = Batched()
    assert Unpacked(PLACE, bytes(builder._build()), [], 2).take(100, found)
    assert found.parts, "no object for any"
    assert [record.offset for record in found] == [2, 3, 4]


def test_a_part_that_is_followed_by_markers_only_is_the_last(monkeypatch):
    """Whoever wants all up to the end has it then, and does not wait for what a broker says next."""
    monkeypatch.setattr(fetched, "Records", None)
    marker = _batch([(COMMIT, b"\x00" * 6, 5, ())], 3, 0, 1)
    marker[ATTRIBUTES_AT + 1] |= TRANSACTIONAL | CONTROL
    data = _batch([(b"k", b"v", 5, ())] * 3, 0, 0, 1)
    source = Unpacked(PLACE, _stamp(data) + _stamp(marker), [], 0)
    first, last = Batched(), Batched()
    assert not source.take(2, first)
    assert source.next_fetch_offset == 2
    assert source.take(1, last)
    assert source.next_fetch_offset == 4
    assert [record.offset for record in (*first, *last)] == [0, 1, 2]
