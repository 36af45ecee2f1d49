"""JSON objects: how their values are counted before anything is made of them, and what is said of what is no run."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.codec.decode import decode
from streamproc.codec.jsonobject import marked
from tests.support.books import bundled_book
from tests.support.runobjects import Arrived


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


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"event": "run.updated", "data": {"id": "run_1", "status": "queued"}},
            "the object has event, data; is this an envelope? A profile says where things are: id = data.id",
        ),
        ({"id": "run_1", "state": "queued"}, "the status is null: the object has id, state"),
        ({"id": None, "data": [{"id": "run_1"}]}, "the run id is null: the object has id, data"),
        ({"\x1b[31m": 1}, r"the run id is null: the object has \x1b[31m"),
        ({"n" * 99: 1}, f"the run id is null: the object has {'n' * 40}"),
        ({f"f{number}": 0 for number in range(10)}, f"{', '.join(f'f{number}' for number in range(8))} and 2 more"),
        ({}, "the run id is null"),
        ({"id": True, "status": "queued"}, "the run id is a boolean: it must be a text or a number"),
    ],
)
def test_an_object_that_is_no_run_is_rejected_with_what_it_has_instead(found: dict[str, Any], said: str) -> None:
    """Names of fields, no values: so a producer sees at once what is wrong."""
    (rejection,) = decode([Arrived(0, json.dumps(found).encode())], bundled_book()).rejections
    assert rejection.message.endswith(said)
    assert "run_1" not in rejection.message
