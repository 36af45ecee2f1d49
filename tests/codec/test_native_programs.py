"""Whatever the native decoder is given: it refuses with an ordinary error, or does no harm; it never panics."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamproc.codec.arrival import FLAGS
from streamproc.codec.native import FAULTS
from streamproc.codec.program import Program, Targets
from streamproc.native import module
from tests.support.native import needs_native

pytestmark = needs_native

ORDINARY = TypeError, ValueError, OverflowError, IndexError, AttributeError
SLOTS, LAST = 3, 6
TARGETS = Targets(
    words=[[0], [1], [2], [], [], []],
    times=[[(0, 0)], [(1, 1_000)], [], [], [], [(2, -1)]],
    tokens=[[0], [1], [2]],
    tools=[0],
    metadata=[2],
)
MEMORY = ({}, [], FLAGS)
PAYLOADS = [
    b"",
    b"\x02a\x02b",
    b"\x00" * 9,
    bytes(range(64)),
    b"\x02a" * 20,
    b"\xff" * 30,
    b"\x02\x04\x06" * 9,
    b"\x01\x02" * 20,
]

numbers = st.integers(-3, 8) | st.sampled_from((2**31, 2**63 - 1, -(2**63), 2**64))
slots = st.lists(st.integers(0, SLOTS), max_size=2)
JUNK = st.recursive(
    st.none() | numbers | st.text(max_size=3) | st.binary(max_size=3) | st.just("\ud800"),
    lambda inside: st.lists(inside, max_size=3) | st.lists(inside, max_size=3).map(tuple),
    max_leaves=5,
)


def nodes_at(at: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """Nodes of the right form, which lead on to later ones as a rule; with numbers that may be none."""
    later = st.integers(min(at + 1, LAST), LAST + (at == LAST)) | st.integers(0, LAST)
    keys = st.lists(st.tuples(st.binary(max_size=2), later, slots), max_size=2)
    leaves = st.sampled_from(("null", "boolean", "none", "")).map(lambda name: (name,))
    values = st.tuples(st.sampled_from(("long", "float", "double", "text")), slots)
    if at == LAST:
        return leaves | values
    return st.one_of(
        leaves,
        values,
        st.tuples(st.just("fixed"), numbers),
        st.tuples(st.just("enum"), st.lists(st.text(max_size=2), max_size=2), slots),
        st.tuples(st.just("union"), st.lists(st.tuples(later, numbers), max_size=3)),
        st.tuples(st.just("record"), st.lists(later, max_size=3)),
        st.tuples(st.just("array"), later, numbers, slots),
        st.tuples(st.just("map"), later, numbers, slots, keys),
        st.tuples(st.just("nested"), later, numbers, numbers),
        st.tuples(st.just("unreadable"), later, slots),
        st.tuples(st.just("doubtful"), later),
    )


programs = st.tuples(*(nodes_at(at) for at in range(LAST + 1))).map(list)


def decode(nodes: list[Any], root: int = 0, limits: tuple[int, int] = (1_000, 300)) -> Any:
    """What a program makes of the payloads."""
    return module.EventDecoder(Program(nodes, root, SLOTS, TARGETS, 0), limits, MEMORY).decode(PAYLOADS)


def test_a_program_in_order_is_taken():
    """Else the others here would show nothing."""
    _, faults, doubtful = decode([("record", [1, 2]), ("text", [0]), ("text", [1])])
    assert (doubtful, len(faults)) == ([PAYLOADS.index(b"\x02a\x02b")], len(PAYLOADS) - 1)


@given(programs, st.integers(0, LAST), numbers, numbers)
@settings(max_examples=500, deadline=None)
def test_a_program_of_anything_is_refused_or_harmless(nodes, root, values, nested):
    """Whatever a node says, no payload is read beyond its end; each is accounted for."""
    with suppress(*ORDINARY):
        columns, faults, doubtful = decode(nodes, root, (values, nested))
        assert len(columns[0]) + len(faults) + len(doubtful) == len(PAYLOADS)
        assert {number for _, number in faults} <= set(range(len(FAULTS)))


@pytest.mark.parametrize(
    "nodes",
    [
        [("record", [0])],
        [("nested", 0, 0, 0)],
        [("nested", 0, -5, -7)],
        [("array", 0, 0, [])],
        [("record", [1]), ("union", [(0, 0)])],
        [("record", [at + 1]) for at in range(100_000)] + [("null",)],
        [("fixed", -1)],
    ],
    ids=["itself", "of no types", "less than nothing", "list", "two", "chain", "size"],
)
def test_a_program_without_an_end_or_less_than_nothing_is_refused(nodes):
    """Else a payload of nothing would overflow the stack."""
    with pytest.raises(ValueError, match=r"deeply|less than nothing"):
        decode(nodes)


def test_a_kind_within_itself_is_refused():
    kind = SimpleNamespace(name="array")
    kind.inside = [kind]
    with pytest.raises(ValueError, match="too deeply"):
        module.RowEncoder(b"", [(kind, 0)])


@given(JUNK, JUNK, JUNK, JUNK, JUNK, JUNK)
@example([("null",)], 1, 0, TARGETS, (1, 1), MEMORY)
@example([("text", [3])], 0, 3, TARGETS, (1, 1), MEMORY)
@example([("record", [1])], 0, 3, TARGETS, (1, 1), MEMORY)
def test_what_is_no_program_is_an_ordinary_error(nodes, root, size, targets, limits, memory):
    for program in (Program(nodes, root, size, targets, 0), Program([("null",)], 0, 1, targets, 0), nodes):
        for terms in ((limits, memory), ((1, 1), memory), (limits, MEMORY)):
            with pytest.raises(ORDINARY):
                module.EventDecoder(program, *terms).decode([1])


@pytest.mark.parametrize("payloads", [None, 7, [7], ["text"], [bytearray(b"x")], [None], (b"x",)], ids=repr)
def test_what_are_no_payloads_is_an_ordinary_error(payloads):
    decoder = module.EventDecoder(Program([("null",)], 0, SLOTS, TARGETS, 0), (1, 1), MEMORY)
    with pytest.raises(TypeError):
        decoder.decode(payloads)
