"""The qualifier bar: a text is a filter, a filter is a text, and what is neither says what may stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.console.qualifiers import (
    FLAGS,
    LISTS,
    MAX_CHARS,
    MAX_VALUES,
    PRESETS,
    BadQuery,
    Filter,
    age,
    parse,
    span,
)

MINUTE = 60_000
TEXTS = st.text(min_size=1, max_size=12)
"""Any: blanks, quotes, colons, line breaks, marks of writing direction."""
AGES = st.none() | st.integers(0, 10_000).map(lambda seconds: seconds * 1_000)


def _distinct(texts: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(texts, min_size=1, max_size=most, unique=True).map(tuple)


FILTERS = st.builds(
    Filter,
    wanted=st.dictionaries(st.sampled_from(LISTS), _distinct(TEXTS, 3)),
    unwanted=st.dictionaries(st.sampled_from(LISTS), _distinct(TEXTS, 3)),
    flags=st.lists(st.sampled_from(FLAGS), unique=True).map(tuple),
    older_ms=AGES,
    younger_ms=AGES,
    metadata=st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True), TEXTS, max_size=2),
    run_id=st.just("") | TEXTS,
)


@given(FILTERS)
def test_a_filter_is_read_back_from_its_text(wanted):
    """What is in the URL is what the page shows, whatever somebody named their assistant."""
    assert parse(wanted.text()) == wanted


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused(text):
    """And a filter's text says the same: `status:a status:b` and `status:a,b` are one."""
    try:
        found = parse(text)
    except BadQuery:
        return
    assert parse(found.text()) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Filter()),
        ("  status:failed,expired ", Filter(wanted={"status": ("failed", "expired")})),
        ("status:failed status:expired,failed", Filter(wanted={"status": ("failed", "expired")})),
        (
            "-assistant:a assistant:b",
            Filter(wanted={"assistant": ("b",)}, unwanted={"assistant": ("a",)}),
        ),
        ('model:"gpt 4, new"', Filter(wanted={"model": ("gpt 4, new",)})),
        (r'thread:"say \"what\" \\"', Filter(wanted={"thread": ('say "what" \\',)})),
        ("age:>5m age:<1h", Filter(older_ms=5 * MINUTE, younger_ms=60 * MINUTE)),
        ("is:open is:overdue is:open", Filter(flags=("open", "overdue"))),
        ("meta.team:x meta.a.b:y", Filter(metadata={"team": "x", "a.b": "y"})),
        ("run_1", Filter(run_id="run_1")),
        ('"a:b"', Filter(run_id="a:b")),
        ("id:run:1", Filter(run_id="run:1")),
    ],
)
def test_what_stands_in_the_bar(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("state:failed", ["'state'", *LISTS, "is", "age", "id", "meta.KEY"]),
        ("meta.:x", ["meta.KEY"]),
        ("is:late", ["is:late", *FLAGS]),
        ("age:5m", ["age:5m", "age:>5m", "age:<1h"]),
        ("age:>5w", ["age:>5m"]),
        ("status:", ["status", "a value is missing"]),
        ("-is:open", ["-is", *LISTS]),
        ("-meta.team:x", [*LISTS]),
        ("run_1 run_2", ["'run_1'", "'run_2'", "one run id"]),
        ('assistant:"a', ["quotation mark"]),
        ("x" * (MAX_CHARS + 1), ["2,000"]),
        ("status:" + ",".join(map(str, range(MAX_VALUES + 1))), ["status", "50"]),
    ],
)
def test_what_is_refused_says_what_may_stand_there(text, named):
    with pytest.raises(BadQuery) as refused:
        parse(text)
    assert [word for word in named if word not in str(refused.value)] == []


def test_the_presets_are_filters():
    for text in PRESETS.values():
        assert parse(text) != Filter()


def test_the_others_values_go_first():
    """Parameters beside `q` replace what it says of the same qualifier, and are added to the rest."""
    bar = parse("status:failed model:a is:open age:>5m meta.team:x run_1")
    own = Filter(wanted={"status": ("queued",)}, flags=("overdue", "open"), older_ms=1_000, metadata={"env": "prod"})
    assert bar.merged(own) == Filter(
        wanted={"status": ("queued",), "model": ("a",)},
        flags=("open", "overdue"),
        older_ms=1_000,
        metadata={"team": "x", "env": "prod"},
        run_id="run_1",
    )


@given(st.integers(0, 10**9 - 1))
def test_an_age_is_written_in_the_largest_unit_that_fits(seconds):
    text = span(seconds * 1_000)
    assert age(text) == seconds * 1_000


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", ">5m", "5 m", "1.5h", "\u0665m", "9999999999s"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(BadQuery, match="90s, 10m, 2h or 3d"):
        age(text)
