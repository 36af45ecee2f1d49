"""`streamproc replay`: what files of RunObjects become is what the service would have made of them."""

import io
import itertools
import subprocess
import sys
from collections import Counter

import fastavro
import msgspec
import pytest

from streamproc.cli.main import main
from streamproc.codec.decode import decode
from streamproc.codec.schemas import load
from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Moment, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, step
from streamproc.local.simulate import simulate
from streamproc.replay import RESULTS, FileReplayTerms, event_time_ms, replay
from streamproc.settings.input import InputSettings, in_force
from tests.support.books import RUN_OBJECT_VERSIONS, bundled_book
from tests.support.runobjects import SCHEMAS, Arrived, encode, run_object

NOW_MS = 1_800_000_000_000
RETENTION = Retention(terminal_ms=86_400_000, open_ms=604_800_000)
RULES = Rules(ASSISTANTS, RETENTION, Deadlines(overdue=False))
TERMS = FileReplayTerms("app", RULES, NOW_MS)
T = 1_717_200_000
DAY_S = 86_400


def _write(path, objects, version="v2_1", codec="deflate", **options):
    document = SCHEMAS[version].document
    with path.open("wb") as file:
        fastavro.writer(file, document, objects, codec=codec, **options)
    return path


def _simulated(version="v2_1", events=2_000, seed=1):
    schema = SCHEMAS[version].parsed
    for event in simulate(seed=seed, events=events, schema_version=version, bad_ratio=0):
        yield fastavro.schemaless_reader(io.BytesIO(event.value[10:]), schema, None)


def _read(directory):
    """The result files, each a list of records, read by fastavro alone."""
    found = []
    for name in RESULTS:
        with (directory / name).open("rb") as file:
            found.append(list(fastavro.reader(file)))
    return found


def _run(status, at=T, run="run_1", **fields):
    return run_object(id=run, status=status, created_at=T, started_at=at, **fields)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_the_results_are_those_of_decoder_and_core_alone(tmp_path, out):
    objects = list(_simulated())
    summary = replay([_write(tmp_path / "a.avro", objects)], out, TERMS)

    clock, records = 0, []
    for offset, found in enumerate(objects):
        clock = event_time_ms(found, SCHEMAS["v2_1"].getters, clock, NOW_MS)
        records.append(Arrived(offset, SCHEMAS["v2_1"].header + encode(SCHEMAS["v2_1"], found), clock))
    state = State(RULES)
    outcome = step(state, decode(records, bundled_book()).events, Moment(clock, caught_up=False), begin(state))

    transitions, verdicts, states, dead_letters = _read(out)
    assert summary.verdicts == outcome.tally.verdicts
    assert [
        (found["run_id"], found["from_status"], found["to_status"], found["in_from_ms"], found["source_offset"])
        for found in transitions
    ] == [(c.run_id, c.from_status, c.to_status, c.in_from_ms, c.offset) for c in outcome.transitions]
    assert [(found["run_id"], found["verdict"], found["reason"], found["source_offset"]) for found in verdicts] == [
        (r.run_id, r.verdict, r.reason, r.source_offset) for r in outcome.rulings
    ]
    assert verdicts
    assert {found["run_id"]: (found["status"], found["event"], found["transitions"]) for found in states} == {
        run_id: (run.status, run.event, run.transitions) for run_id, run in outcome.runs.items()
    }
    assert dead_letters == []


def test_every_record_is_counted_once(tmp_path, out):
    """As applied, duplicate, stale, illegal or rejected; and the files hold what the summary says."""
    objects = [*_simulated(events=3_000), *(run_object(id="") for _ in range(3)), run_object(status="")]
    summary = replay([_write(tmp_path / "a.avro", objects)], out, TERMS)
    assert summary.rejected == {"bad_run_id": 3, "bad_status": 1}
    assert summary.records == 3_004 == sum(summary.verdicts.values()) + sum(summary.rejected.values())
    assert all(summary.verdicts[verdict] for verdict in Verdict)
    rows = dict(summary.rows())
    assert rows["records"] == sum(rows[f"  {part}"] for part in (*Verdict, "rejected"))
    assert [len(found) for found in _read(out)] == list(summary.written.values())
    document = summary.document(out)
    assert (document["records"], document["rejected"]) == (3_004, {"bad_run_id": 3, "bad_status": 1})
    assert sum(document["verdicts"].values()) == 3_000
    assert document["written"][0] == {"file": str(out / "run-transitions.avro"), "records": len(_read(out)[0])}


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
def test_each_version_is_replayed_and_the_event_is_its_exact_payload(version, tmp_path, out):
    objects = list(_simulated(version, events=300))
    replay([_write(tmp_path / "a.avro", objects, version)], out, TERMS)
    for found in _read(out)[2]:
        original = objects[found["source_offset"]]
        assert found["event"] == encode(SCHEMAS[version], original)
        assert found["event_schema"] == SCHEMAS[version].label


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "bzip2", "xz"])
def test_every_compression_that_can_be_read_is(codec, tmp_path, out):
    path = _write(tmp_path / "a.avro", _simulated(events=100), codec=codec)
    assert replay([path], out, TERMS).records == 100


def test_files_are_one_stream_in_the_order_given(tmp_path, out):
    """Also where they differ in version; the source is the file, and the index goes on from file to file."""
    first = _write(tmp_path / "first.avro", [_run("queued"), _run("in_progress", T + 5)], "v1")
    second = _write(tmp_path / "second.avro", [_run("completed", T + 9), _run("queued", T + 9, "run_2")], "v2_1")
    replay([first, second], out, TERMS)
    transitions, _, states, _ = _read(out)
    assert [(found["to_status"], found["source_topic"], found["source_offset"]) for found in transitions] == [
        ("queued", "first.avro", 0),
        ("in_progress", "first.avro", 1),
        ("completed", "second.avro", 2),
        ("queued", "second.avro", 3),
    ]
    assert [(found["run_id"], found["status"], found["source_topic"]) for found in states] == [
        ("run_1", "completed", "second.avro"),
        ("run_2", "queued", "second.avro"),
    ]
    assert {found["source_partition"] for found in transitions + states} == {0}
    turned = replay([second, first], out, TERMS, force=True)
    assert turned.verdicts[Verdict.STALE] == 2


def test_the_same_files_give_the_same_bytes(tmp_path, out):
    path = _write(tmp_path / "a.avro", _simulated(events=5_000))
    replay([path], out, TERMS)
    before = [(out / name).read_bytes() for name in RESULTS]
    replay([path], out, TERMS._replace(now_ms=NOW_MS + DAY_S * 1000), force=True)
    assert [(out / name).read_bytes() for name in RESULTS] == before


def test_a_dead_letter_says_which_record_of_which_file_and_has_its_bytes(tmp_path, out):
    good, bad = run_object(), run_object(id="", instructions="s3cr3t")
    first = _write(tmp_path / "first.avro", [good])
    second = _write(tmp_path / "second.avro", [good, bad, good])
    replay([first, second], out, TERMS)
    [letter] = _read(out)[3]
    assert letter.pop("value") == encode(SCHEMAS["v2_1"], bad)
    assert "s3cr3t" not in letter["message"]
    assert letter == {"reason": "bad_run_id", "message": letter["message"], "file": str(second), "index": 2}


@pytest.mark.parametrize(("name", "rejected"), [("instructions", {}), ("model", {}), ("id", {"bad_run_id": 1})])
def test_text_that_is_not_utf_8_is_no_damage_and_in_the_id_a_dead_letter(name, rejected, tmp_path, out):
    """Where the record ends is known, so the ones behind it can be read."""
    path = _write(tmp_path / "a.avro", [run_object(**{name: "qqqq"}), run_object(id="run_2")], codec="null")
    path.write_bytes(path.read_bytes().replace(b"qqqq", b"qq\xff\xff"))
    summary = replay([path], out, TERMS)
    assert (summary.records, summary.rejected) == (2, rejected)


def test_a_file_of_objects_without_a_time_that_is_set_keeps_the_event_time(tmp_path, out):
    """0 is no time, and one that cannot be read is none either."""
    times = [{"created_at": 1_700_000_000}, {"created_at": 0, "started_at": -62_135_596_800}, {"created_at": 2**60}]
    path = _write(tmp_path / "a.avro", [run_object(id=f"run_{n}", **each) for n, each in enumerate(times)])
    replay([path], out, TERMS)
    assert {change["occurred_at"].timestamp() for change in _read(out)[0]} == {1_700_000_000}


def test_a_foreign_schema_with_the_fields_that_are_read_is_replayed(tmp_path, out):
    fields = [{"name": "status", "type": "string"}, {"name": "id", "type": "string"}, {"name": "raw", "type": "bytes"}]
    schema = {"type": "record", "name": "MyRun", "fields": fields}
    path = tmp_path / "mine.avro"
    with path.open("wb") as file:
        fastavro.writer(file, schema, [{"id": "run_1", "status": "queued", "raw": b"\xff"}])
    assert replay([path], out, TERMS).verdicts == {Verdict.APPLIED: 1}


# Event time


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"created_at": T}, T),
        ({"created_at": T, "started_at": T + 5}, T + 5),
        ({"created_at": T, "started_at": T + 5, "completed_at": T + 9}, T + 9),
        ({"created_at": T, "failed_at": T + 7}, T + 7),
        ({"created_at": T, "cancelled_at": T + 8, "completed_at": None}, T + 8),
        ({"created_at": T, "expires_at": T + 600}, T),
        ({}, T - 100),
        ({"created_at": T - 200}, T - 100),
        ({"created_at": -5}, T - 100),
        ({"created_at": T, "completed_at": NOW_MS // 1000 + DAY_S}, T - 100),
        ({"created_at": T, "completed_at": 2**62}, T),
    ],
)
def test_event_time_is_the_latest_own_time_and_never_goes_back(fields, seconds):
    """Nor is it moved by a time that lies ahead of the clock, or by one that is none."""
    assert event_time_ms(fields, SCHEMAS["v2_1"].getters, (T - 100) * 1000, NOW_MS) == seconds * 1000


def test_durations_come_from_event_time(tmp_path, out):
    objects = [_run("queued", None), _run("in_progress", T + 5), _run("completed", T + 5, completed_at=T + 65)]
    replay([_write(tmp_path / "a.avro", objects)], out, TERMS)
    assert [found["in_from_ms"] for found in _read(out)[0]] == [None, 5_000, 60_000]


def test_nothing_in_a_file_comes_late(tmp_path, out):
    """Event time is its clock, however far apart its events are: not that of the last one of those read in one go."""
    objects = [_run("queued", T + day * DAY_S, f"run_{day}") for day in range(5)]
    replay([_write(tmp_path / "a.avro", objects)], out, TERMS)
    assert {(found["stream_lag_ms"], found["clock_lag_ms"]) for found in _read(out)[2]} == {(0, 0)}


# Memory


def test_a_forgotten_runs_state_is_in_the_results_all_the_same(tmp_path, out):
    """Retention bounds memory (rules.md 17): what it lets go of is written at once."""
    batches = itertools.chain.from_iterable(
        (_run("completed", T + day * DAY_S, f"run_{day}_{index}") for index in range(2_000)) for day in range(4)
    )
    replay([_write(tmp_path / "a.avro", batches)], out, TERMS)
    runs = [found["run_id"] for found in _read(out)[2]]
    assert len(runs) == len(set(runs)) == 8_000
    assert runs[0] == "run_0_0"


@pytest.mark.slow
def test_two_hundred_thousand_records_take_bounded_memory(tmp_path, out):
    """Of runs that end and are forgotten: a second hundred thousand takes no more than the first."""

    def peak_kb(records):
        per_day = 5_000
        objects = (
            _run("completed", T + index // per_day * DAY_S, f"run_{index}", instructions="x" * 800)
            for index in range(records)
        )
        path = _write(tmp_path / "a.avro", objects)
        script = (
            "import sys, resource\nfrom pathlib import Path\nfrom tests.test_replay import TERMS, replay\n"
            "replay([Path(sys.argv[1])], Path(sys.argv[2]), TERMS, force=True)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, path, out], check=True, capture_output=True, text=True, timeout=100
        )
        return int(done.stdout)

    assert peak_kb(200_000) < peak_kb(100_000) + 20_000


# Files that are no such files, and results that are there already


def _replayed(monkeypatch, capsys, *arguments):
    """The exit code and standard error of the command line."""
    monkeypatch.setattr("sys.argv", ["streamproc", "replay", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code, capsys.readouterr()


def _missing(path):
    path.unlink()


def _empty(path):
    path.write_bytes(b"")


def _json(path):
    path.write_text('{"id": "run_1", "status": "queued"}')


def _framed(path):
    path.write_bytes(SCHEMAS["v1"].header + b"payload")


def _directory(path):
    path.unlink()
    path.mkdir()


def _cut_in_the_header(path):
    path.write_bytes(path.read_bytes()[:100])


def _cut_in_a_block(path):
    path.write_bytes(path.read_bytes()[:-300])


def _cut_in_the_last_mark(path):
    path.write_bytes(path.read_bytes()[:-1])


def _cut_in_a_blocks_count(path):
    """Two bytes of a number of which only the first is there: fastavro alone takes this for the end."""
    path.write_bytes(path.read_bytes() + b"\x80")


def _overwritten_in_a_block(path):
    whole = bytearray(path.read_bytes())
    whole[-2_000:-1_900] = b"\xff" * 100
    path.write_bytes(bytes(whole))


def _other_records(path):
    with path.open("wb") as file:
        fastavro.writer(file, load("run_state").document, [])


def _status_of_another_type(path):
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "boolean"}]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "RunObject", "fields": fields}, [{"id": "r", "status": True}])


def _no_record(path):
    with path.open("wb") as file:
        fastavro.writer(file, "string", ["s3cr3t"])


SPOILT = (
    *(_missing, _empty, _json, _framed, _directory, _cut_in_the_header, _cut_in_a_block, _cut_in_the_last_mark),
    *(_cut_in_a_blocks_count, _overwritten_in_a_block, _other_records, _status_of_another_type, _no_record),
)


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_bad_file_is_named_and_nothing_is_written(spoil, codec, tmp_path, out, monkeypatch, capsys):
    good = _write(tmp_path / "good.avro", _simulated(events=200))
    bad = _write(tmp_path / "bad.avro", _simulated(events=200), codec=codec, sync_interval=4_000)
    spoil(bad)
    code, printed = _replayed(monkeypatch, capsys, good, bad, "--out", out)
    assert code == 1
    assert "bad.avro" in printed.err
    assert "Traceback" not in printed.err
    assert "s3cr3t" not in printed.err
    assert not out.exists() or not list(out.iterdir())


def test_a_compression_that_cannot_be_read_is_said_to_be_one(tmp_path, out, monkeypatch, capsys):
    path = _write(tmp_path / "a.avro", _simulated(events=10), codec="null")
    path.write_bytes(path.read_bytes().replace(b"avro.codec\x08null", b"avro.codec\x08zstd"))
    code, printed = _replayed(monkeypatch, capsys, path, "--out", out)
    assert code == 1
    assert "compressed with zstd" in printed.err


def test_a_file_without_records_has_empty_results(tmp_path, out):
    assert replay([_write(tmp_path / "a.avro", [])], out, TERMS).records == 0
    assert _read(out) == [[], [], [], []]


def test_results_that_are_there_are_kept_unless_forced(tmp_path, out, monkeypatch, capsys):
    path = _write(tmp_path / "a.avro", _simulated(events=100))
    out.mkdir()
    (out / "run-state.avro").write_text("mine")
    (out / "other").write_text("mine, too")
    code, printed = _replayed(monkeypatch, capsys, path, "--out", out)
    assert (code, (out / "run-state.avro").read_text()) == (1, "mine")
    assert "--force" in printed.err
    code, _ = _replayed(monkeypatch, capsys, path, "--out", out, "--force")
    assert code == 0
    assert len(_read(out)[2]) > 1
    assert {found.name for found in out.iterdir()} == {*RESULTS, "other"}


def test_results_that_cannot_be_written_are_said_to_be_so(tmp_path, out, monkeypatch, capsys):
    path = _write(tmp_path / "a.avro", _simulated(events=10))
    out.write_text("a file, where the directory should be")
    code, printed = _replayed(monkeypatch, capsys, path, "--out", out)
    assert code == 1
    assert "cannot be written" in printed.err


def test_the_table_adds_up_and_says_where_the_files_are(tmp_path, out, monkeypatch, capsys):
    path = _write(tmp_path / "a.avro", [*_simulated(events=500), run_object(id="")])
    code, printed = _replayed(monkeypatch, capsys, path, "--out", out)
    assert code == 0
    table = Counter()
    for line in printed.out.splitlines():
        label, _, count = line.strip().rpartition(" ")
        if count.isdigit():
            table[label.strip()] = int(count)
    parts = ("applied", "duplicate", "stale", "illegal", "rejected")
    assert table["records"] == 501 == sum(table[part] for part in parts)
    assert table["bad_run_id"] == table["rejected"] == 1
    for name in RESULTS:
        assert str(out / name) in printed.out


def test_no_file_is_wrong_usage(monkeypatch, capsys):
    assert _replayed(monkeypatch, capsys)[0] == 2


def test_statuses_are_mapped_and_rejected_as_the_service_would(tmp_path):
    """Rule: a replay under the service's settings says what the service would do."""
    settings = InputSettings(statuses={"Completed": "completed"}, unknown_statuses="reject")
    terms = TERMS._replace(rules=msgspec.structs.replace(RULES, profile=in_force(ASSISTANTS, settings)))
    file = _write(tmp_path / "a.avro", [_run("queued"), _run("Completed", T + 5), _run("paused", T + 6)])
    summary = replay([file], tmp_path / "out", terms)
    assert summary.rejected == {"unknown_status": 1}
    transitions, _, states, letters = _read(tmp_path / "out")
    assert [each["to_status"] for each in transitions] == ["queued", "completed"]
    assert [each["status"] for each in states] == ["completed"]
    assert "the status paused is none" in letters[0]["message"]
