"""run-metrics, and run-windows both ways: what a window task restores is what it committed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.encode import OutputSource
from streamproc.codec.schemas import load
from streamproc.codec.windows import STATE as FORMAT
from streamproc.codec.windows import WindowEncoder, decode_window_states, state_key
from streamproc.core.alerts import AlertKind, Severity
from streamproc.core.conditions import Holding, HoldingKey
from streamproc.core.measure import BUCKETS, Totals
from streamproc.core.sources import NOT_HEARD, SourceMark, Sources
from streamproc.core.windowstate import SILENCE_KEY, SOURCES_KEY, Closing, Silence, Window, WindowKey
from streamproc.errors import ConfigError
from tests.support import earlier
from tests.support.metrics_oracle import WindowOf, read, revisions, totals_of
from tests.support.runobjects import Arrived, counts, texts
from tests.support.sums import instants, partitions, totals, totals_from, values

ENCODER = WindowEncoder(OutputSource("app", "run-measurements", 2))
WALL_MS = 1_800_000_000_000
START_MS = 1_717_200_000_000
KEY = WindowKey("asst_1", "gpt-4o", 60_000, START_MS)
FAILURE_RATE = AlertKind.FAILURE_RATE
SOURCES = Sources([1, NOT_HEARD], [2, 0], [3, 0])
_earlier_values = st.one_of(
    values.filter(lambda found: found[0] != SOURCES_KEY and getattr(found[0], "kind", FAILURE_RATE) is FAILURE_RATE),
    st.tuples(partitions, st.builds(SourceMark, instants, instants, instants)),
)


def _record(message, offset=0) -> Arrived:
    key, value, timestamp, headers = message
    return Arrived(offset, value, timestamp, key, headers)


def _sample() -> Totals:
    return totals_from(
        created=2,
        transitions={"queued": 2},
        errors={"server_error": 1},
        tokens={"prompt": 5},
        runs={"failed": [700, 800, None], "succeeded": [10**9]},
        queue_wait=[3],
    )


# State


@given(st.dictionaries(values.map(lambda found: found[0]), st.none(), max_size=3), st.lists(values, max_size=5))
def test_what_was_encoded_is_restored(gone, found):
    """Tombstones too, in their place."""
    changed = {**gone, **dict(found)}
    messages = ENCODER.states(changed, 41, 7, WALL_MS)
    restored = decode_window_states([_record(message) for message in messages])
    assert restored == [(key, value, -1 if value is None else 41) for key, value in changed.items()]


@given(values, values)
def test_different_keys_are_different_records(one, other):
    """Compaction must not take one for the other."""
    assert (state_key(one[0]) == state_key(other[0])) == (one[0] == other[0])


@pytest.mark.parametrize("names", [(None, ""), ("a", 'a"'), ('x","y', "x")])
def test_names_are_told_apart(names):
    """Whatever is in them: null is not empty, and quotes are no way out."""
    assert len({state_key(KEY._replace(assistant_id=name)) for name in names}) == 2


@given(_earlier_values)
def test_what_an_earlier_release_wrote_is_restored(found):
    """rules.md 23: under the same keys, so that what is written anew replaces it."""
    key, value = found
    record = earlier.state(key, value, 41)
    assert decode_window_states([record]) == [(key, value, 41)]
    assert decode_window_states([record._replace(value=None)]) == [(key, None, -1)]
    assert record.key == ENCODER.states({key: None}, 41, 7, WALL_MS)[0][0]


def test_the_format_is_what_it_was():
    """Whoever changes it gives it another version: records of this one are to be restored."""
    window = Window(totals_from(created=1, errors={"a": 2}), 3, 4)
    failing = HoldingKey(FAILURE_RATE, ("asst_1", None), Severity.WARNING)
    holding = Holding("asst_1", None, Severity.WARNING, 5, 6)
    costly = failing._replace(kind=AlertKind.COST_OVER_BUDGET)
    changed = {KEY: window, failing: holding, costly: holding, SOURCES_KEY: SOURCES}
    found = {key: value for key, value, *_ in ENCODER.states(changed, 41, 7, WALL_MS)}
    assert found == {
        b'["window","asst_1","gpt-4o",60000,1717200000000]': bytes.fromhex(
            "c17701 92 29 93 92 81a76372656174656401 81a16102 03 04"
        ),
        b'["failing","asst_1",null,"warning"]': bytes.fromhex("c17701 92 29 95 a6617373745f31 c0 a7")
        + b"warning\x05\x06",
        b'["holding","cost_over_budget","asst_1",null,"warning"]': bytes.fromhex("c17701 92 29 95 a6617373745f31 c0 a7")
        + b"warning\x05\x06",
        b'["sources"]': bytes.fromhex("c17701 92 29 93 9201ff 9202 00 9203 00"),
    }


def test_ids_of_states_are_of_the_commit():
    """rules.md 22: where they come from, the commit, the number in it."""
    messages = ENCODER.states({KEY: None, SOURCES_KEY: SOURCES}, 41, 7, WALL_MS)
    assert [dict(headers)["ce_id"] for *_, headers in messages] == [
        b"run-measurements:2:7:0",
        b"run-measurements:2:7:1",
    ]


STATE = ENCODER.states({SOURCES_KEY: SOURCES}, 1, 1, 1)[0][1] or b""
DAMAGED = {
    "no key": Arrived(5, b"x", key=None),
    "a key of something else": Arrived(5, b"x", key=b'"run_1"'),
    "an unknown kind": Arrived(5, None, key=b'["unheard","of"]'),
    "an unknown condition": Arrived(5, None, key=b'["holding","unheard_of","a","m","warning"]'),
    "a condition about a run": Arrived(5, None, key=b'["holding","overdue","a","m","warning"]'),
    "failure rates under another key": Arrived(5, None, key=b'["holding","failure_rate","a","m","warning"]'),
    "a short key": Arrived(5, None, key=b'["window","a"]'),
    "a foreign value": Arrived(5, b"\x07garbage", key=state_key(KEY)),
    "another schema": Arrived(5, load("run_metrics").header + b"\x00" * 40, key=state_key(KEY)),
    "another format": Arrived(5, b"\xc1m\x01" + STATE[3:], key=state_key(SOURCES_KEY)),
    "another version": Arrived(5, b"\xc1w\x02" + STATE[3:], key=state_key(SOURCES_KEY)),
    "cut short": Arrived(5, STATE[:-1], key=state_key(SOURCES_KEY)),
    "one byte more": Arrived(5, STATE + b"\x00", key=state_key(SOURCES_KEY)),
    "the value of another kind": Arrived(5, STATE, key=state_key(KEY)),
    "lists of different lengths": Arrived(5, FORMAT.pack((1, ([1], [2], []))), key=state_key(SOURCES_KEY)),
    "a single source in the new format": Arrived(5, STATE, key=b'["source",0]'),
    "an earlier one, cut short": earlier.state(0, SourceMark(1, 2, 3))._replace(
        offset=5, value=(earlier.state(0, SourceMark(1, 2, 3)).value or b"")[:-1]
    ),
    "an earlier one of another kind": earlier.state(0, SourceMark(1, 2, 3))._replace(offset=5, key=state_key(KEY)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_state_that_cannot_be_read_is_refused(name):
    """rules.md 23: never skipped; it says where."""
    with pytest.raises(ConfigError, match="5"):
        decode_window_states([DAMAGED[name]])


@given(values, st.binary(max_size=20), st.data())
def test_damaged_states_are_refused_or_are_another_value(found, noise, data):
    """Nothing but ConfigError is raised."""
    key, value, _, _ = ENCODER.states(dict([found]), 1, 1, 1)[0]
    at = data.draw(st.integers(0, len(value or b"")))
    for record in (Arrived(0, (value or b"")[:at] + noise, key=key), Arrived(0, value, key=(key or b"")[:at] + noise)):
        try:
            decode_window_states([record])
        except ConfigError:
            continue


# Metrics


@given(totals, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_metrics_hold_the_totals(sums, revision, late):
    """As the contract names them."""
    found = revisions([_record(*ENCODER.metrics([Closing(KEY, revision, sums, late)], WALL_MS))])
    ((window, (sent,)),) = found.items()
    assert window == WindowOf(*KEY)
    assert sent == (revision, totals_of(sums), late)


_kinds = st.sampled_from(("", "created", "to", "tokens", "queue", "action", "run", "unheard"))
_odd_names = st.tuples(_kinds, texts, texts).map(":".join) | texts


@given(st.dictionaries(_odd_names, counts, max_size=6), st.dictionaries(texts, counts, max_size=3))
def test_counts_of_any_names_are_sent_as_far_as_they_say_anything(found, errors):
    """Anybody may write into run-measurements: it must not end the windows, and hides nothing of ours."""
    sums = Totals({**found, "created": 3, "to:queued": 2}, errors)
    sent = read(_record(*ENCODER.metrics([Closing(KEY, 0, sums, 0)], WALL_MS)), "run_metrics")
    assert (sent["created"], sent["transitions"]["queued"], sent["errors"]) == (3, 2, errors)
    assert list(sent["run_duration"]["buckets"]) == list(BUCKETS)


def test_a_histogram_names_all_its_buckets():
    """So that a reader can add up without knowing them; zeros too. Not cumulative. What is not known is in none."""
    found = read(_record(*ENCODER.metrics([Closing(KEY, 0, _sample(), 0)], WALL_MS)), "run_metrics")
    assert found["run_duration"]["buckets"] == {**dict.fromkeys(BUCKETS, 0), "1000": 2, "+Inf": 1}
    assert (found["run_duration"]["count"], found["run_duration"]["sum_ms"]) == (3, 10**9 + 1_500)
    assert (found["ended"], found["window_end"] - found["window_start"]) == ({"failed": 3, "succeeded": 1}, 60_000)


def test_metrics_are_keyed_as_measurements_are():
    """rules.md 2 and 22; ce_time is the window's end, the record's timestamp never ahead of the clock."""
    key, _, timestamp, headers = ENCODER.metrics([Closing(KEY, 4, _sample(), 0)], WALL_MS)[0]
    assert json.loads(key or b"") == ["asst_1", "gpt-4o"]
    assert timestamp == START_MS + 60_000
    assert dict(headers)["ce_id"] == b"asst_1:gpt-4o:60:1717200000000:4"
    assert dict(headers)["ce_time"] == b"2024-06-01T00:01:00.000Z"
    assert dict(headers)["ce_type"] == b"streamproc.run.metrics"
    (_, _, timestamp, _) = ENCODER.metrics([Closing(KEY, 4, _sample(), 0)], START_MS)[0]
    assert timestamp == START_MS


@pytest.mark.parametrize(
    "groups", [((None, "m"), ("", "m")), (("a:b", "c"), ("a", "b:c")), ((None, None), ("null", "null"))]
)
def test_different_windows_have_different_ids(groups):
    """A consumer drops repeats by them."""
    ids = {
        dict(headers)["ce_id"]
        for group in groups
        for *_, headers in ENCODER.metrics([Closing(WindowKey(*group, 60_000, 0), 0, Totals(), 0)], WALL_MS)
    }
    assert len(ids) == 2


def test_silence_and_sources_have_fixed_keys():
    """One each; single sources are an earlier release's, and only dropped."""
    messages = ENCODER.states({SILENCE_KEY: Silence(1), SOURCES_KEY: SOURCES, 7: None}, 1, 1, 1)
    assert [json.loads(key or b"") for key, *_ in messages] == [["silence"], ["sources"], ["source", 7]]
