"""The fuzzer itself: `make fuzz` runs a million cases, in chunks like these."""

import pytest

from tests.fuzz.run import CHUNK, run_chunk


@pytest.mark.parametrize("seed", range(4))
def test_no_case_of_a_chunk_fails(seed):
    found = run_chunk(seed)
    assert sum(found.values()) - found["schemas"] - found["producers"] == CHUNK
