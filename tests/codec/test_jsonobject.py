"""How the values of a JSON object are counted before anything is made of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.codec.jsonobject import marked


def _plainly(payload: bytes) -> int:
    """Count the commas and opened lists and objects outside of texts, byte by byte."""
    count, in_text, escaped = 0, False, False
    for byte in payload:
        if escaped:
            escaped = False
        elif in_text and byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            in_text = not in_text
        elif not in_text:
            count += byte in b",[{"
    return count


@pytest.mark.parametrize("count", [1, 2, 7])
@given(payload=st.lists(st.sampled_from([bytes([each]) for each in b'"\\,[{:}a\n'])).map(b"".join))
@example(payload=b'"a,[{\\",",,,,,,,,')
@example(payload=b'"' + b'\\"' * 9)
def test_what_stands_in_a_text_counts_for_nothing(count: int, payload: bytes) -> None:
    """Whatever is escaped in it, and though it has no end."""
    assert (marked(count).match(payload) is not None) is (_plainly(payload) >= count)
