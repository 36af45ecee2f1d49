"""Lists of runs: whatever is asked for, the pages together are what a look at every run would find, in its order."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.console.model.database import Database, RebuildCause
from streamproc.console.qualifiers import BadQuery, Filter, parse
from streamproc.console.queries import runs
from streamproc.console.queries.cursors import STALE, cursor, key_in
from streamproc.console.reads import SORTS, BadCursor
from streamproc.core.alerts import AlertKind
from streamproc.core.model import Run
from streamproc.core.profiles import ASSISTANTS
from tests.support.readmodel import VIEW, change, database, put, run

NOW = 10_000_000
NAMES = st.sampled_from(["a", "b", None])
STATUSES = ("queued", "in_progress", "completed", "failed", "cancelled", "made up")


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One file for all examples, built anew for each."""
    found = database(tmp_path_factory.mktemp("queries"))
    yield found
    found.close()


@st.composite
def fleets(draw: st.DrawFn) -> list[tuple[Run, str | None]]:
    """Some runs, with the value of their metadata."""
    rows = st.tuples(
        st.sampled_from(STATUSES),
        st.integers(0, 6),
        NAMES,
        NAMES,
        NAMES,
        NAMES,
        st.booleans(),
        st.integers(0, 2),
        NAMES,
    )
    found = []
    for number, (status, since, assistant, model, thread, error, is_illegal, expires, team) in enumerate(
        draw(st.lists(rows, max_size=25))
    ):
        found.append(
            (
                run(
                    f"run_{number % 3}_{number}",
                    status,
                    NOW - 400_000 * since,
                    assistant_id=assistant,
                    model=model,
                    thread_id=thread,
                    error_code=error,
                    alerts=(f"{AlertKind.ILLEGAL}:x",) if is_illegal else (),
                    expires_at=(NOW + 500_000 * (expires - 1)) // 1_000 if expires else None,
                ),
                team,
            )
        )
    return found


LISTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True).map(tuple)
QUALIFIERS = {
    "status": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3, unique=True).map(tuple),
    "outcome": st.lists(st.sampled_from(["succeeded", "failed", "nonsense"]), min_size=1, unique=True).map(tuple),
    "assistant": LISTS,
    "model": LISTS,
    "thread": LISTS,
    "error": LISTS,
}
AGES = st.none() | st.sampled_from([0, 400_000, 1_300_000])
FILTERS = st.builds(
    Filter,
    wanted=st.fixed_dictionaries({}, optional=QUALIFIERS),
    unwanted=st.fixed_dictionaries({}, optional=QUALIFIERS),
    flags=st.lists(st.sampled_from(["open", "ended", "overdue", "illegal"]), max_size=2, unique=True).map(tuple),
    older_ms=AGES,
    younger_ms=AGES,
    metadata=st.fixed_dictionaries({}, optional={"team": st.sampled_from(["a", "b"])}),
    run_id=st.sampled_from(["", "", "", "run_", "run_1", "run_1_4"]),
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(fleets(), FILTERS, st.sampled_from(SORTS), st.integers(1, 7))
def test_the_pages_are_what_a_look_at_every_run_finds(
    db: Database, fleet: list[tuple[Run, str | None]], wanted: Filter, sort: str, size: int
) -> None:
    """Each run that is meant is on one page, none twice; in the order that was asked for."""
    db.rebuild(RebuildCause.DAMAGED, "an example of its own")
    put(db, *(change(each, team=team) for each, team in fleet))
    found, behind, pages = [], None, 0
    while pages == 0 or behind is not None:
        page = db.read(lambda reader, at=behind: runs.page(reader, VIEW, wanted, sort, size, at, NOW))
        assert len(page.runs) <= size
        found += page.runs
        behind, pages = page.last, pages + 1
        assert pages <= len(fleet) + 1
    expected = [each for each, team in fleet if _is_meant(each, team, wanted, sort)]
    assert sorted(each.run_id for each in found) == sorted(each.run_id for each in expected)
    keys = [_key(each, wanted, sort) for each in found]
    assert keys == sorted(keys, reverse=sort == "-since" and not wanted.run_id)
    total = db.read(lambda reader: runs.total(reader, VIEW, wanted))
    assert total in (None, sum(_is_meant(each, team, wanted, "since") for each, team in fleet))


def _key(found: runs.Run, wanted: Filter, sort: str) -> object:
    if wanted.run_id:
        return found.run_id
    return found.ends_first_at if sort == "deadline" else found.status_since


def _is_meant(each: Run, team: str | None, wanted: Filter, sort: str) -> bool:
    outcome, ends_first = ASSISTANTS.outcomes.get(each.status), VIEW.ends_first(each)
    values = {
        "status": each.status,
        "outcome": outcome,
        "assistant": each.assistant_id,
        "model": each.model,
        "thread": each.thread_id,
        "error": each.error_code,
    }
    flags = {
        "open": outcome is None,
        "ended": outcome is not None,
        "overdue": ends_first is not None and ends_first <= NOW,
        "illegal": bool(each.alerts),
    }
    age = NOW - each.status_since
    return (
        all(values[name] in among for name, among in wanted.wanted.items())
        and not any(values[name] in among for name, among in wanted.unwanted.items())
        and all(flags[flag] for flag in wanted.flags)
        and (wanted.older_ms is None or age >= wanted.older_ms)
        and (wanted.younger_ms is None or age <= wanted.younger_ms)
        and wanted.metadata.get("team", team) == team
        and each.run_id.startswith(wanted.run_id)
        and (sort != "deadline" or bool(wanted.run_id) or ends_first is not None)
    )


def test_any_number_of_statuses_that_producers_make_up_can_be_listed(db: Database) -> None:
    """More than SQLite takes in one query, each a stream of its own: then the list goes by time alone."""
    db.rebuild(RebuildCause.DAMAGED, "for the test")
    put(db, *(change(run(f"r{number}", f"status {number}", number)) for number in range(700)))
    page = db.read(lambda reader: runs.page(reader, VIEW, parse("-status:x"), "-since", 5, None, NOW))
    assert [each.run_id for each in page.runs] == ["r699", "r698", "r697", "r696", "r695"]


def test_metadata_that_is_not_indexed_is_refused_with_the_setting(db: Database) -> None:
    """It would take a look at every run."""
    with pytest.raises(BadQuery, match="STREAMPROC_CONSOLE__INDEX_METADATA"):
        db.read(lambda reader: runs.page(reader, VIEW, parse("meta.colour:red"), "since", 5, None, NOW))


@pytest.mark.parametrize("text", ["", "x", "AAAA", "!!", cursor("e", "other", [1, 2]), cursor("e", "list", ["a", 1])])
def test_what_is_no_cursor_of_this_list_is_refused(text: str) -> None:
    """Never taken for another place in the list."""
    with pytest.raises(BadCursor):
        key_in(text, "e", "list", (int, int))


def test_a_cursor_of_a_read_model_that_was_rebuilt_is_refused() -> None:
    """Rows have other numbers there."""
    assert key_in(cursor("e", "list", [1, 2]), "e", "list", (int, int)) == [1, 2]
    with pytest.raises(BadCursor, match=STALE):
        key_in(cursor("before", "list", [1, 2]), "e", "list", (int, int))
