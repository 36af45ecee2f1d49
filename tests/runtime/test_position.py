"""What is committed along with an offset is read back exactly, or it is somebody else's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.runtime.ports import Committed
from streamproc.runtime.position import FORMAT, MAX_LONG, Position, Resetting, read

COUNTS = st.integers(0, MAX_LONG)
OURS = {"format": FORMAT, "profile": "x", "sequence": 1, "live_keys": 2, "stream_time": 3, "partitions": 4}
NO_COUNTS = [None, "x", [], {}, 1e300, 1.0, True, -1, 2**63, float("nan")]


@given(st.builds(Position, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.text()))
def test_a_position_is_read_back_as_it_was_committed(position):
    assert read(position.to_committed()) == position


@given(st.builds(Resetting, COUNTS, COUNTS))
def test_a_reset_under_way_is_read_back_as_it_was_committed(resetting):
    assert read(resetting.to_committed()) == resetting


@pytest.mark.parametrize("name", [name for name in OURS if name != "profile"])
@pytest.mark.parametrize("value", NO_COUNTS)
def test_what_looks_like_ours_and_has_no_count_where_one_belongs_is_not_ours(name, value):
    assert read(Committed(5, json.dumps({**OURS, name: value}))) is None


@pytest.mark.parametrize("name", ["reset", "sequence"])
@pytest.mark.parametrize("value", NO_COUNTS)
def test_what_looks_like_a_reset_and_has_no_count_where_one_belongs_is_not_ours(name, value):
    assert read(Committed(5, json.dumps({"format": FORMAT, "reset": 5, "sequence": 7, name: value}))) is None


@pytest.mark.parametrize("value", [None, 1, [], {}])
def test_a_profile_is_text(value):
    assert read(Committed(5, json.dumps({**OURS, "profile": value}))) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*OURS, "reset"]) | st.text(), inner),
)


@given(JSON.map(json.dumps) | st.text())
def test_whatever_somebody_committed_can_be_read(metadata):
    read(Committed(5, metadata))


def test_metadata_that_is_nested_without_end_is_not_ours():
    """As long as a broker takes it."""
    assert read(Committed(5, "[" * 4_096)) is None
