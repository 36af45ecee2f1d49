"""The read model: what is written is what the records say, and the counts are those of the rows."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.console.model.database import Database, RebuildCause
from streamproc.console.model.entries import (
    Alerted,
    Arrived,
    LetterContent,
    LetterRow,
    ReceiptRow,
    RunChange,
    StepKind,
    StepRow,
    WindowRow,
    Writes,
)
from streamproc.console.model.retention import HistoryRetention, tidy
from streamproc.console.model.writing import write
from streamproc.console.queries import fleet, signals
from streamproc.console.reads import Busy
from streamproc.core.model import Run
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from tests.support.readmodel import TABLE, change, contents, database, facets_in, gone, put, run, runs_in

NAMES = st.sampled_from(["a", "b", None])


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """An empty read model."""
    found = database(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples of a property have their files."""
    return tmp_path_factory.mktemp("models")


@st.composite
def batches(draw: st.DrawFn) -> list[list[RunChange]]:
    """Some batches of states and nulls, each run on one partition."""
    changes = st.builds(
        lambda number, status, assistant, model, error, since: (
            gone(f"run_{number}")
            if status is None
            else change(
                run(f"run_{number}", status, since, assistant_id=assistant, model=model, error_code=error), team=model
            )
        ),
        st.integers(0, 5),
        st.sampled_from(["queued", "in_progress", "completed", "failed", "odd one", None]),
        NAMES,
        NAMES,
        NAMES,
        st.integers(0, 3),
    )
    return draw(st.lists(st.lists(changes, max_size=6), max_size=6))


@given(batches())
def test_the_last_state_of_each_run_is_kept_and_counted(place: Path, written: list[list[RunChange]]) -> None:
    """Whatever comes in whichever batches: rows are the last ones, facets are the counts of the rows."""
    db = database(place)
    db.rebuild(RebuildCause.DAMAGED, "an example of its own")
    expected: dict[str, Run] = {}
    for batch in written:
        put(db, *batch)
        # A batch is folded to the last of each run before it is written.
        for each in {found.run_id: found for found in batch}.values():
            expected.pop(each.run_id, None)
            if each.run is not None:
                expected[each.run_id] = each.run
    assert runs_in(db) == expected
    counts: Counter[tuple[str, str]] = Counter()
    for each in expected.values():
        values = {"status": each.status, "assistant": each.assistant_id, "model": each.model, "error": each.error_code}
        counts.update((name, value) for name, value in values.items() if value is not None)
    assert facets_in(db) == counts
    db.close()


@pytest.mark.parametrize("first", [0, 1])
def test_of_a_run_on_two_partitions_the_later_one_is_shown(db: Database, first: int) -> None:
    """Events without a key make two states of one run (rules.md 1): the order of reading them decides nothing."""
    states = [change(run("r", "queued", 1)), change(run("r", "completed", 9), partition=1)]
    put(db, states[first])
    put(db, states[1 - first])
    assert runs_in(db)["r"].status == "completed"
    put(db, gone("r", partition=0))
    assert runs_in(db)["r"].status == "completed"
    put(db, gone("r", partition=1))
    assert not runs_in(db)
    assert not facets_in(db)


def test_an_alert_is_what_was_decided_last_with_when_it_fired(db: Database) -> None:
    """One row of each alert; an occurrence is over when it is no news any more."""
    put_steps(db, alert("x", "firing", 5), alert("y", "firing", 6, ends_at=100), alert("x", "resolved", 7))
    found, last = signals.alerts(db.writer, signals.AlertFilter(), 10, None, 50)
    assert last is None
    assert [(each.alert_id, each.state, each.fired_at, each.resolved_at) for each in found] == [
        ("x", "resolved", 5, 7),
        ("y", "firing", 6, None),
    ]
    assert signals.firing(db.writer, 50) == 1
    assert signals.firing(db.writer, 100) == 0
    assert [each.state for each in signals.alerts(db.writer, signals.AlertFilter(state="over"), 10, None, 100)[0]] == [
        "over"
    ]


def test_receipts_close_letters_and_their_groups(db: Database) -> None:
    """A group counts the letters that are open; a receipt that is taken back opens one again."""
    letters = [letter(offset, "undecodable") for offset in range(3)]
    write(db, TABLE, Writes(letters=letters, receipts=[ReceiptRow(0, 1, 99), ReceiptRow(0, 77, 99)]))
    assert [(group.count, group.open) for group in signals.groups(db.writer)] == [(3, 2)]
    write(db, TABLE, Writes(receipts=[ReceiptRow(0, 1, 100)]))
    assert [(group.count, group.open) for group in signals.groups(db.writer)] == [(3, 2)]
    write(db, TABLE, Writes(receipts=[ReceiptRow(0, 1, None)]))
    assert [(group.count, group.open) for group in signals.groups(db.writer)] == [(3, 3)]


@given(st.lists(st.tuples(NAMES, st.integers(0, 2), st.integers(1, 3), st.integers(0, 5)), max_size=20))
def test_the_sums_are_those_of_the_latest_revisions(place: Path, revisions: list[tuple[Any, int, int, int]]) -> None:
    """A revision of a window replaces the one before it, in the sums over all assistants too."""
    db = database(place)
    db.rebuild(RebuildCause.DAMAGED, "an example of its own")
    latest: dict[tuple[str, int], tuple[int, int]] = {}
    for assistant, start, revision, created in revisions:
        row = WindowRow(60_000, assistant or "", "m", start * 60_000, revision, {"created": created} if created else {})
        write(db, TABLE, Writes(windows={row[:4]: row}))
        if latest.get((row.assistant, start), (0, 0))[0] < revision:
            latest[row.assistant, start] = revision, created
    found = {window.start // 60_000: window.created for window in fleet.windows(db.writer, EVERYTHING, 60_000, 100)}
    expected: Counter[int] = Counter()
    for (_, start), (_, created) in latest.items():
        expected[start] += created
    assert {start: count for start, count in found.items() if count} == +expected
    db.close()


def test_what_is_old_goes_and_open_runs_stay(db: Database) -> None:
    """Retention by age for what happened, by number for runs: those that ended first, never an open one."""
    put(db, *(change(run(f"run_{number}", "completed", number)) for number in range(1_200)))
    put(db, *(change(run(f"open_{number}", "queued", number)) for number in range(10)))
    put_steps(db, *(step(offset, at=offset) for offset in range(100)))
    write(db, TABLE, Writes(letters=[letter(0, "undecodable"), letter(1, "undecodable", written=5_000)]))
    retention = HistoryRetention(1_000, 1_000, ASSISTANTS)
    while tidy(db, retention, 1_050):
        pass
    kept = runs_in(db)
    assert len(kept) == 1_000
    assert sum(name.startswith("open_") for name in kept) == 10
    assert min(each.status_since for each in kept.values() if each.status == "completed") == 210
    assert facets_in(db) == {("status", "completed"): 990, ("status", "queued"): 10}
    assert db.writer.execute("SELECT min(offset), count(*) FROM steps").fetchone() == (50, 50)
    assert [(group.count, group.open) for group in signals.groups(db.writer)] == [(2, 2)]
    while tidy(db, retention, 3_000):
        pass
    assert [(group.count, group.open) for group in signals.groups(db.writer)] == [(1, 1)]


def test_more_steps_than_are_kept_go_from_the_front(db: Database) -> None:
    """By number, too: so many steps for each run that is kept."""
    put_steps(db, *(step(offset) for offset in range(9_000)))
    while tidy(db, HistoryRetention(10**12, 1_000, ASSISTANTS), 1_000):
        pass
    first, count = db.writer.execute("SELECT min(offset), count(*) FROM steps").fetchone()
    assert 8_000 <= count <= 8_010  # It goes by offsets, rounded.
    assert first == 9_000 - count


def test_writing_is_all_or_nothing(db: Database) -> None:
    """What fails in the middle leaves the rows and the offsets as they were."""
    before = contents(db)
    broken = Writes(runs={("r", 0): change(run("r"))}, steps=[step(0, at=None)])  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        write(db, TABLE, broken)
    assert contents(db) == before


@pytest.mark.parametrize("damage", [b"", b"no database at all", b"\0" * 8_192])
def test_a_file_that_is_none_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    """Damaged or foreign: rebuilt, and it says why."""
    (tmp_path / "console.sqlite").write_bytes(damage)
    db = database(tmp_path)
    assert "damaged" in db.why_rebuilt
    assert runs_in(db) == {}
    db.close()


def test_a_file_cut_in_half_is_never_shown_as_whole(tmp_path: Path) -> None:
    """A torn file is found out when it is opened."""
    db = database(tmp_path)
    put(db, *(change(run(f"run_{number}")) for number in range(2_000)))
    db.fold_log()
    db.close()
    file = tmp_path / "console.sqlite"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    db = database(tmp_path)
    assert "damaged" in db.why_rebuilt
    assert not runs_in(db)
    db.close()


def test_a_file_made_with_other_settings_is_made_anew_and_one_with_the_same_is_kept(tmp_path: Path) -> None:
    """What it was made with is in it."""
    for identity, is_kept in (("one", False), ("one", True), ("two", False)):
        db = database(tmp_path, identity=identity)
        assert (not db.why_rebuilt) == is_kept
        assert len(runs_in(db)) == is_kept
        put(db, change(run("r")))
        db.close()


def test_two_consoles_have_a_file_each(tmp_path: Path) -> None:
    """The second one on the same file says which setting helps."""
    db = database(tmp_path)
    with pytest.raises(ConfigError, match="STREAMPROC_CONSOLE__DATABASE"):
        database(tmp_path)
    database(tmp_path, "other.sqlite").close()
    db.close()
    database(tmp_path).close()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the setting that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="STREAMPROC_CONSOLE__DATABASE"):
        database(tmp_path / "file")


def test_a_query_without_an_end_is_interrupted(db: Database) -> None:
    """No reader holds its snapshot for longer than a query may take; the next one is answered."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(Busy):
        db.read(lambda reader: reader.execute(endless).fetchone())
    assert db.read(lambda reader: reader.execute("SELECT 1").fetchone()) == (1,)


def test_readers_see_a_rebuilt_file_and_cannot_write(db: Database) -> None:
    """A reader that has the old file open reads the new one with its next query."""
    put(db, change(run("r")))
    count = "SELECT count(*) FROM runs"
    assert db.read(lambda reader: reader.execute(count).fetchone()) == (1,)
    db.rebuild(RebuildCause.DAMAGED, "for the test")
    assert db.read(lambda reader: reader.execute(count).fetchone()) == (0,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.read(lambda reader: reader.execute("DELETE FROM runs"))


EVERYTHING = fleet.SeriesFilter(0, 10**12)


def put_steps(db: Database, *steps: StepRow) -> None:
    """Write steps in one batch."""
    write(db, TABLE, Writes(steps=list(steps)))


def step(offset: int, at: int = 0) -> StepRow:
    """Return a run's first transition."""
    said = Arrived("applied", None, "queued", None, True, None, None, None, 1, None, None, "run-events", 0, offset)
    return StepRow(StepKind.TRANSITION, 0, offset, f"run_{offset}", at, at, said)


OFFSETS = iter(range(10**6))


def alert(name: str, state: str, at: int, ends_at: int | None = None) -> StepRow:
    """Return an alert."""
    said = Alerted(
        name, "stuck", "warning", state, "r", None, None, None, "queued", 1, 2, ends_at, at, "", None, None, 1
    )
    return StepRow(StepKind.ALERT, 0, next(OFFSETS), "r", at, at, said)


def letter(offset: int, reason: str, written: int = 1_000) -> LetterRow:
    """Return a dead letter."""
    return LetterRow(0, offset, written, reason, "json", "run-events", 0, LetterContent("why", "r", offset, 1, 10, 0))
