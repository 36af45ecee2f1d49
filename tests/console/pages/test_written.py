"""Numbers, times and foreign text, as they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from streamproc.console.pages import written
from streamproc.console.pages.jsontree import MAX_NODES, tree
from streamproc.escaping import escaped

NOW = 1_796_212_800_000
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (45_000, "45s"),
        (125_000, "2m 05s"),
        (720_000, "12m"),
        (4_000_000, "1h 06m"),
        (200_000_000, "2d 7h"),
    ],
)
def test_spans_have_their_two_largest_units(milliseconds, text):
    assert written.span(milliseconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1_023, "1,023 B"), (1_536, "1.5 KiB"), (2**34, "16 GiB")])
def test_sizes_have_a_unit(count, text):
    assert written.size(count) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [(NOW - 1_000, "11:59:59"), (NOW - 86_400_000, "1 Dec 12:00:00"), (NOW - 86_400_000 * 400, "2025-10-28 12:00:00")],
)
def test_times_say_the_day_where_it_is_another(at, text):
    assert written.stamp(at, NOW) == text


@pytest.mark.parametrize("at", [-1, 0, 2**63])
def test_what_is_no_time_is_shown_as_it_is(at):
    for write in (written.moment, written.age, written.left):
        assert str(at) in write(at, NOW)


@given(st.text())
def test_foreign_text_is_inert_and_cut(text):
    for shown in (written.foreign(text), written.middle(text)):
        assert isinstance(shown, Markup)
        assert shown.striptags() == shown.striptags().strip()
        assert len(shown.unescape()) < 2 * written.MAX_TITLE_CHARS * 10
        assert all(char.isprintable() for char in shown)
        assert not set(shown.replace("<bdi>", "").replace("</bdi>", "").split("<bdi title=")[-1]) & {"\x00"}


@given(st.text(max_size=26))
def test_a_short_id_is_whole(text):
    shown = escaped(text)
    if len(shown) <= 26:
        assert written.middle(text) == Markup("<bdi>{}</bdi>").format(shown)


@given(values)
def test_a_tree_closes_what_it_opens(value):
    shown = tree(value)
    for name in ("details", "summary", "div", "span", "bdi"):
        assert shown.count(f"<{name}") == shown.count(f"</{name}>")
    assert all(char.isprintable() for char in shown)


def test_a_tree_ends_where_it_gets_large_and_folds_what_is_deep():
    deep = None
    for _ in range(10_000):
        deep = [deep]
    for large in ([*range(100_000)], deep, [[[n] for n in range(100)] for _ in range(100)]):
        shown = tree(large)
        assert shown.count("<details") == shown.count("</details>")
        assert shown.count("<div") <= MAX_NODES + 1
