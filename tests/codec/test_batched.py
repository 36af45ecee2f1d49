"""Records of native batches are objects only once somebody looks at one."""

from typing import Any

import pytest

from streamproc.codec.batched import Batched
from streamproc.codec.sizes import HEADER_COST_BYTES
from tests.support.batched import batched
from tests.support.native import needs_native

pytestmark = needs_native
MESSAGES = [(b"k%d" % number, None if number == 2 else b"v", 7 + number, [("h", b"x")]) for number in range(5)]


def _told(records: Any) -> list[Any]:
    return [(each.offset, each.key, each.value, each.timestamp, each.headers) for each in records]


EXPECTED = [
    (offset, key, value, timestamp, tuple(headers)) for offset, (key, value, timestamp, headers) in enumerate(MESSAGES)
]


@pytest.mark.parametrize("cuts", [(), (2,), (1, 2, 4)])
def test_they_are_those_of_the_batches(cuts: tuple[int, ...]) -> None:
    assert _told(batched(MESSAGES, cuts)) == EXPECTED
    assert _told(batched(MESSAGES, cuts)[1:3]) == EXPECTED[1:3]
    assert batched(MESSAGES, cuts)[-1].offset == 4


def test_to_count_them_makes_no_object() -> None:
    records = batched(MESSAGES, (2,))
    assert records
    assert len(records) == 5
    assert len(records.parts) == 2


def test_an_object_is_made_once_and_the_batches_are_let_go() -> None:
    """They hold all that was fetched."""
    records = batched(MESSAGES, (2,))
    assert records[3] is list(records)[3]
    assert records.parts == []
    assert len(records) == 5


def test_there_may_be_none() -> None:
    assert not Batched()
    assert list(Batched()) == []


MEMORY = 2 + 1 + HEADER_COST_BYTES + 2
"""What one of the records takes: key, value, and a header."""


@pytest.mark.parametrize(
    ("records", "memory", "taken"),
    [(9, 10_000, 4), (2, 10_000, 2), (0, 10_000, 0), (9, 1, 1), (9, MEMORY, 1), (9, MEMORY + 1, 2)],
)
def test_a_batch_tells_how_much_fits(records: int, memory: int, taken: int) -> None:
    """So many records, or so many bytes; the last one may go over."""
    [(batch, start, _)] = batched([MESSAGES[0]] * 3).parts
    assert batch.fitting(start, records, memory) == (start + taken, taken * MEMORY)
