"""What a snapshot gives back is the state as it was, payloads and all, or nothing."""

import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import Disk, DiskFails
from streamproc.store.jobs import Recalling, Rewriting, Sealing, Storing
from streamproc.store.snapshot import Sacrificing, Snapshotting, Written, load
from streamproc.store.sqlite import SqliteDisk
from streamproc.store.tiers import Tiers
from tests.support.disks import FakeDisk
from tests.support.events import START_MS, TRAFFIC_ARRIVES, event, traffic
from tests.support.states import runs_of

RULES = Rules(ASSISTANTS, Retention(terminal_ms=60_000, open_ms=100_000))


class Partition:
    """A state on a disk, as one process after another has it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.begin_anew()

    def begin_anew(self) -> None:
        self.tiers = Tiers()
        self.state = State(RULES, payloads=self.tiers)
        self.state.changed = set()
        self.written = Written()

    def commit(self, events: list[RunEvent], at: int = TRAFFIC_ARRIVES) -> None:
        out = begin(self.state)
        step(self.state, events, Moment(START_MS + at, caught_up=False), out)
        self.state.merge(pass_time(self.state, Moment(START_MS + at, caught_up=True), out))

    def snapshot(self, about: bytes = b"") -> None:
        self.do(Snapshotting(self.state, self.tiers, about, self.written))

    def do(self, job) -> None:
        job.work(lambda: self.disk)
        job.settle()

    def reload(self) -> bool:
        """Start as another process does."""
        self.begin_anew()
        written = load(self.disk, self.state, self.tiers, lambda _: True)
        self.written = written or self.written
        return written is not None

    def runs(self):
        payloads = [run.payload for run in self.state.runs.values()]
        self.do(Recalling(self.tiers, payloads))
        return runs_of(self.state)


def _calendar(state: State):
    """Return when which runs are looked at to be forgotten, as of a state that is put together now."""
    again = State(RULES)
    for run in runs_of(state).values():
        again.put(run)
    return {bucket: sorted(ids) for bucket, ids in again.forgetting.buckets.items()}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 30)),
        st.tuples(st.just("forget"), st.integers(0, 120_000)),
        st.sampled_from([("seal", 0), ("store", 0), ("rewrite", 0), ("snapshot", 0), ("fail", 0), ("restart", 0)]),
    ),
    max_size=25,
)


@given(traffic(), steps)
def test_it_is_the_state_as_of_the_last_snapshot(events: list[RunEvent], steps) -> None:
    """Whatever was sealed, stored, dropped, or refused in between."""
    it, rest, saved = Partition(FakeDisk()), list(events), None
    for what, much in steps:
        match what:
            case "commit":
                it.commit(rest[:much])
                rest = rest[much:]
            case "forget":
                it.commit([], TRAFFIC_ARRIVES + much)
            case "seal":
                it.do(Sealing(it.tiers))
            case "store":
                it.do(Storing(it.tiers, 1 << 20, 1 << 30))
            case "rewrite":
                it.do(Rewriting(it.tiers))
            case "snapshot":
                it.snapshot()
                saved = it.runs()
            case "fail":
                it.disk.refuses = True
                job = Snapshotting(it.state, it.tiers, b"", it.written)
                with pytest.raises(DiskFails):
                    job.work(lambda: it.disk)
                job.fail()
                it.disk.refuses = False
            case "restart":
                assert it.reload() == (saved is not None)
                assert it.runs() == (saved or {})
                runs = it.state.runs.values()
                assert it.state.by_status == Counter(run.status for run in runs)
                assert {at: sorted(ids) for at, ids in it.state.forgetting.buckets.items()} == _calendar(it.state)


@pytest.fixture
def it() -> Partition:
    return Partition(FakeDisk())


def _filled(it: Partition, count: int, prefix: str = "run") -> None:
    it.commit([event("queued", run=f"{prefix}_{number}", at=number) for number in range(count)])
    it.commit([event("completed", run=f"{prefix}_{number}", at=count + number) for number in range(0, count, 2)])


def test_one_adds_to_the_one_before(it) -> None:
    """Its cost is what has changed."""
    _filled(it, 1_000)
    it.snapshot()
    before = dict(it.disk.kept_frames)
    it.commit([event("failed", run="run_1", at=5_000)])
    it.snapshot()
    added = {number: frame for number, frame in it.disk.kept_frames.items() if number not in before}
    assert before.items() <= it.disk.kept_frames.items()
    assert sum(map(len, added.values())) < sum(map(len, before.values())) / 20
    expected = it.runs()
    assert it.reload()
    assert it.runs() == expected


def test_frames_are_written_anew_where_most_of_them_is_out_of_date(it, monkeypatch) -> None:
    """Else a file would grow for ever."""
    monkeypatch.setattr("streamproc.store.snapshot.SPARE_RUNS", 10)
    _filled(it, 20)
    for at in range(50):
        it.commit(
            [event("in_progress", run=f"run_{number}", at=1_000 * at, usage=(at, 1, 1)) for number in range(1, 20, 2)]
        )
        it.snapshot()
        assert it.written.entries <= 2 * 20 + 10 + 20
    assert len(it.disk.kept_frames) <= 6
    expected = it.runs()
    assert it.reload()
    assert it.runs() == expected


def test_payloads_that_nobody_wants_leave_the_disk(it) -> None:
    _filled(it, 500)
    it.snapshot()
    it.commit([], TRAFFIC_ARRIVES + 200_000)
    assert it.state.live_keys == 0
    it.snapshot()
    it.snapshot()
    assert not it.disk.blocks


@pytest.mark.parametrize("harm", ["tear", "lose a frame", "lose the first", "lose a block"])
def test_one_that_was_damaged_is_found_out(it, harm) -> None:
    for number in range(3):
        _filled(it, 50, f"run{number}")
        it.snapshot()
    if harm == "tear":
        it.disk.tear()
    elif harm == "lose a block":
        it.disk.blocks.popitem()
    else:
        numbers = sorted(it.disk.kept_frames)
        del it.disk.kept_frames[numbers[0 if harm == "lose the first" else 1]]
    with pytest.raises(StoreDamaged):
        it.reload()


@pytest.mark.parametrize("label", [b"", b"1234", b"\x00" * 40, b"x" * 40])
def test_a_label_that_is_none_counts_as_no_snapshot(it, label) -> None:
    it.disk.kept_label = label
    assert not it.reload()


def test_one_that_does_not_fit_is_not_loaded(it) -> None:
    _filled(it, 50)
    it.snapshot(b"theirs")
    it.begin_anew()
    assert load(it.disk, it.state, it.tiers, lambda about: about == b"ours") is None
    assert it.state.live_keys == 0
    assert load(it.disk, it.state, it.tiers, lambda about: about == b"theirs")


def test_it_is_the_same_in_a_file_that_is_opened_again(tmp_path) -> None:
    it = Partition(SqliteDisk(tmp_path / "state" / "run-events-0.db"))
    assert not it.reload()
    _filled(it, 3_000)
    it.snapshot()
    it.commit([event("failed", run=f"run_{number}", at=9_000) for number in range(1, 500, 2)])
    it.snapshot()
    expected = it.runs()
    _filled(it, 100, "unsaved")
    while it.tiers.young:
        it.do(Sealing(it.tiers))
    it.do(Storing(it.tiers, 1 << 30, 1 << 30))
    it.disk.close()
    it.disk = SqliteDisk(it.disk.path)
    assert it.reload()
    assert it.runs() == expected
    assert it.tiers.freed, "what was stored after the snapshot is of nobody"
    it.disk.close()


def test_another_process_that_has_the_file_is_told_apart(tmp_path) -> None:
    path = tmp_path / "run-events-0.db"
    disk = SqliteDisk(path)
    it = Partition(disk)
    _filled(it, 10)
    it.snapshot()
    with pytest.raises(DiskFails, match="locked"):
        SqliteDisk(path)
    disk.close()
    SqliteDisk(path).close()


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be taken for one" * 99, b"SQLite format 3\0" + b"x" * 9_000]
)
def test_a_file_of_something_else_is_made_anew(tmp_path, content) -> None:
    path = tmp_path / "run-events-0.db"
    path.write_bytes(content)
    disk = SqliteDisk(path)
    assert disk.label() is None
    disk.close()


def test_a_directory_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskFails, match="file"):
        SqliteDisk(tmp_path / "file" / "run-events-0.db")


@pytest.mark.parametrize("column", ["listed", "data"])
def test_a_bit_that_flips_in_a_file_is_found_out(tmp_path, column) -> None:
    """In what says which payloads a block has as in the payloads: by the next start, or when they are read."""
    it = Partition(SqliteDisk(tmp_path / "state.db"))
    it.reload()
    _filled(it, 50)
    it.snapshot()
    it.disk.close()
    with sqlite3.connect(tmp_path / "state.db") as file:
        [(found,)] = file.execute(f"SELECT {column} FROM block").fetchall()
        file.execute(f"UPDATE block SET {column} = ?", (found[:9] + bytes([found[9] ^ 1]) + found[10:],))
    file.close()
    it.disk = SqliteDisk(tmp_path / "state.db")
    with pytest.raises(StoreDamaged):
        _read_all(it)
    it.disk.close()


def _read_all(it: Partition) -> None:
    it.reload()
    it.runs()


def test_one_that_is_in_the_way_is_given_up(it) -> None:
    """Rather than that a partition stands still."""
    _filled(it, 50)
    it.snapshot()
    it.commit([event("in_progress", run=f"run_{number}", at=5_000 + number) for number in range(1, 50, 2)])
    it.commit([], TRAFFIC_ARRIVES + 65_000)
    assert it.tiers.freed
    it.do(Sacrificing(it.tiers, it.written))
    assert not it.disk.blocks
    assert not it.disk.kept_frames
    it.snapshot()
    expected = it.runs()
    assert it.reload()
    assert it.runs() == expected


def test_one_of_another_layout_is_not_read(it, monkeypatch) -> None:
    """Packed runs have no names in them: another release may have other fields."""
    _filled(it, 5)
    it.snapshot()
    monkeypatch.setattr("streamproc.store.snapshot.FORMAT", "1 run_id and others")
    assert not it.reload()
