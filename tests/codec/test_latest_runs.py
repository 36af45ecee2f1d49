"""The latest state of each key: out of the batches that were fetched, or by the reference, it is the same."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from streamproc.codec import runstate
from streamproc.codec.arrival import Arrival
from streamproc.codec.cloudevents import SCHEMA_HEADER
from streamproc.codec.framing import SINGLE_OBJECT_BYTES, confluent
from streamproc.codec.message import Message
from streamproc.codec.rows import RecordEncoder
from streamproc.codec.runstate import VERSIONS, Latest, latest_runs
from streamproc.codec.schemas import load
from streamproc.core.model import Run
from streamproc.errors import ConfigError
from tests.support.batched import batched
from tests.support.native import needs_native, pure
from tests.support.runobjects import Arrived, runs

ENCODERS = {name: RecordEncoder(load(name), Run) for name in VERSIONS}
WALL_MS = 1_800_000_000_000
RUN = Run(
    *("run_1", "thread_1", "asst_1", "gpt-4o", "completed", 3, 16, 1, 4, 1, 2, 3, 4, 5, (1, 2, 3), None, ("look",), ()),
    *(17, "crc64:0123456789abcdef", b"event bytes"),
)


def _state(
    run: Run, name: str = VERSIONS[0], key: bytes = b"run_1", *, framed: bool = True, named: bool = True
) -> Message:
    """A record of a state: `framed` as a single object, else by a registry's id; `named`: a header has the version."""
    value = ENCODERS[name].frame((*astuple(run), "run-events", 0))
    headers = [("ce_id", b"1"), (SCHEMA_HEADER, load(name).label.encode()), ("ce_time", b"now")]
    return key, value if framed else confluent(7) + value[SINGLE_OBJECT_BYTES:], WALL_MS, headers if named else []


keys = st.sampled_from((b"a", b"b", b"c", b"\xff", b""))
sound = st.builds(_state, runs, st.sampled_from(VERSIONS), keys) | st.builds(
    lambda run, name, key, framed: _state(run, name, key, framed=framed, named=not framed),
    *(runs, st.sampled_from(VERSIONS), keys, st.booleans()),
)
tombstones = st.tuples(
    keys | st.none(), st.sampled_from((None, b"")), st.just(WALL_MS), st.just([(SCHEMA_HEADER, b"x")])
)
histories = st.lists(sound | tombstones, max_size=6)


def _arrived(messages: Sequence[Message]) -> list[Arrived]:
    return [Arrived(offset, value, at, key, headers) for offset, (key, value, at, headers) in enumerate(messages)]


def _read(records: Sequence[Arrival]) -> Any:
    """What is read, in no particular order, or what is wrong."""
    try:
        found = latest_runs(records)
    except ConfigError as error:
        return str(error)
    return sorted(map(repr, found.runs)), sorted(found.gone)


def test_only_the_latest_of_a_key_counts_and_a_tombstone_is_one() -> None:
    later, other = replace(RUN, status="failed"), replace(RUN, run_id="run_2")
    gone: Message = (b"run_3", None, WALL_MS, [])
    messages = [_state(RUN), _state(other, key=b"run_3"), _state(other, key=b"run_2"), gone, _state(later)]
    assert latest_runs(_arrived(messages)) == Latest([later, other], ["run_3"])


def test_what_a_later_record_replaced_is_not_looked_at() -> None:
    messages = [_state(RUN), _state(RUN)]
    messages[0] = (b"run_1", b"\xc3\x01 damaged", WALL_MS, [])
    assert latest_runs(_arrived(messages)) == Latest([RUN], [])


@needs_native
@given(histories, st.lists(st.integers(0, 6), max_size=3))
@settings(max_examples=300)
def test_any_history_is_read_alike(messages: list[Message], cuts: list[int]) -> None:
    """rules.md 6 and 23: of every version, in both framings, with a header or without, wherever batches begin."""
    expected = _read(_arrived(messages))
    assert _read(batched(messages, cuts)) == expected
    with pure():
        assert _read(batched(messages, cuts)) == expected


@needs_native
@given(st.lists(sound, min_size=1, max_size=4), st.data())
@settings(max_examples=500)
def test_damage_is_named_alike(messages: list[Message], data: st.DataObject) -> None:
    """By its offset, and never passed over; where the bytes are another state, it is the same one."""
    number = data.draw(st.integers(0, len(messages) - 1))
    key, value, at, headers = messages[number]
    assert value is not None
    where, size = data.draw(st.integers(0, len(value))), data.draw(st.integers(0, 2))
    changed = value[:where] + data.draw(st.binary(max_size=3)) + value[where + size :]
    messages[number] = key, changed, at, data.draw(st.sampled_from((headers, [], [(SCHEMA_HEADER, b"crc64:00")])))
    assert _read(batched(messages)) == _read(_arrived(messages))


@needs_native
@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("framed", [True, False])
def test_what_is_sound_is_not_left_to_the_reference(monkeypatch: pytest.MonkeyPatch, name: str, framed: bool) -> None:
    """Else all of it could be."""
    monkeypatch.setattr(runstate, "decode_runs", None)
    records = batched([_state(RUN, name, framed=framed), (b"gone", None, WALL_MS, [])])
    assert latest_runs(records) == Latest([RUN], ["gone"])
    assert records.parts, "nor is there an object for any record"


@needs_native
def test_texts_that_many_runs_share_are_one_object() -> None:
    """Millions of runs share few statuses and models, whichever version they are of."""
    first, second = latest_runs(batched([_state(RUN), _state(RUN, VERSIONS[1], b"other")])).runs
    assert first.model is second.model
    assert first.required_tools[0] is second.required_tools[0]


@needs_native
def test_parts_that_are_none_are_an_ordinary_error() -> None:
    """Never a panic, which would end the service."""
    [(batch, _, _)] = batched([_state(RUN)]).parts
    decode = runstate._latest_decoder().decode
    assert decode([(batch, 7, 9), (batch, 3, 1)]) == (
        [],
        [[[] for _ in load(name).document["fields"]] for name in VERSIONS],
    )
    for wrong in (None, [None], [(batch, -1, 2)], [(b"", 0, 1)], [(batch, 0)]):
        with pytest.raises((TypeError, OverflowError, ValueError)):
            decode(wrong)
