"""Payloads sealed natively and purely: the same blocks, as far as anybody can tell."""

from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.store import block
from streamproc.store.block import MAX_BYTES, MAX_PAYLOADS, Block, opened, seal
from tests.support.native import needs_native, pure

payloads = st.binary(max_size=40) | st.integers(0, 3 * MAX_BYTES).map(lambda size: b"x" * size)
entries = st.lists(payloads, max_size=2 * MAX_PAYLOADS).map(lambda them: list(enumerate(them, 2**40)))


@needs_native
@given(entries)
@example([(number, b"") for number in range(2 * MAX_PAYLOADS + 1)])
@example([(1, b"x" * MAX_BYTES), (2, b""), (3, b"y"), (5, b"z" * (MAX_BYTES + 1)), (6, b"")])
def test_both_paths_cut_and_list_alike_and_hold_the_same(given_entries):
    natively = seal(given_entries)
    with pure():
        purely = seal(given_entries)
    assert [sealed.listed for sealed in natively] == [sealed.listed for sealed in purely]
    for one, other in zip(natively, purely, strict=True):
        numbers, _ = block.parted(one.listed)
        assert opened(numbers, one.data) == opened(numbers, other.data)


@given(entries)
def test_what_is_sealed_is_found_again_and_is_told_from_anything_else(given_entries):
    blocks = [Block(identity, sealed) for identity, sealed in enumerate(seal(given_entries), 1)]
    found = {number: payload for each in blocks for number, payload in opened(each.numbers, each.data or b"").items()}
    assert found == dict(given_entries)
    for each in blocks:
        for number in each.numbers:
            assert each.equals(number, found[number])
            assert not each.equals(number, found[number] + b"x")
