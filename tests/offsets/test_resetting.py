"""Going back in the events: the states go, the offsets move, and what comes out is what came out before."""

import json
from itertools import count

import pytest

from streamproc.errors import ConfigError, TaskInvalid
from streamproc.offsets import resetting
from streamproc.offsets.command import reset_offsets, show_offsets
from streamproc.offsets.places import target
from streamproc.offsets.resetting import Reset, planned
from streamproc.runtime import reading
from streamproc.runtime.ports import Committed, TopicPartition
from streamproc.runtime.position import Position
from tests.offsets.conftest import desk_of
from tests.support.application import application
from tests.support.runobjects import START_MS
from tests.support.waiting import eventually

ROLES = ("transitions", "state", "alerts", "dead_letters")
PARTITIONS = 2


async def _ran():
    """An application that has runs on two partitions, and stopped."""
    it = await application(PARTITIONS)
    for number in range(6):
        it.send("queued", run=f"run_{number}", partition=number % PARTITIONS, at_ms=START_MS + 1_000 * number)
    it.send_bytes(b"rubbish")
    for number in range(0, 6, 2):
        it.send("completed", run=f"run_{number}", at_ms=START_MS + 10_000 + number)
    async with it.working():
        await it.summed()
    return it


def _latest(it):
    """The state topic's latest record of each run, by what is in it and its id."""
    latest = {}
    for partition in range(PARTITIONS):
        for entry in it.output("state", partition):
            latest[entry.key] = None if entry.value is None else dict(entry.headers)["ce_id"]
    return {key: value for key, value in latest.items() if value is not None}


def _ids(it, role):
    return [each for partition in range(PARTITIONS) for each in it.ids(role, partition)]


async def _again(it):
    async with it.working():
        await it.summed()


@pytest.mark.parametrize("at_once", [1, 2_000])
async def test_everything_is_read_again_and_comes_out_the_same(screen, at_once, monkeypatch):
    """However many records a restore reads at once: a state stands in front of its tombstone for long."""
    monkeypatch.setattr(reading, "FETCH_RECORDS", at_once)
    it = await _ran()
    states, transitions = _latest(it), _ids(it, "transitions")
    assert await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False) == 0
    assert _latest(it) == {}
    for source in (it.source(0), it.source(1), it.measured(0), it.measured(1)):
        position = Position.of(it.kafka.offsets[source], source)
        assert (position.live_keys, position.stream_time, position.partitions) == (0, 0, PARTITIONS)
    await _again(it)
    assert _latest(it) == states
    assert sorted(_ids(it, "transitions")) == sorted(2 * transitions)
    assert "10 offsets are read again; 6 runs and all windows were dropped" in screen.out
    assert "written again with the same ce_id" in screen.out


async def test_a_plan_writes_nothing_and_may_be_asked_for_while_the_service_runs(screen):
    it = await _ran()
    async with it.working():
        await it.summed()
        before = {source: committed.offset for source, committed in it.kafka.offsets.items()}
        assert await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=True) == 0
        # A service that idles goes on telling the windows how far it is; nothing else may move.
        assert all(it.kafka.offsets[source].offset >= offset for source, offset in before.items())
        assert not any('"reset"' in committed.metadata for committed in it.kafka.offsets.values())
        assert all(entry.value for entry in it.outputs("state") + it.outputs("windows")), "no tombstone"
    assert "would be read again" in screen.out


async def test_a_plan_is_one_object_for_programs(screen):
    it = await _ran()
    await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=True, as_json=True)
    found = json.loads(screen.out)
    assert found["dry_run"] is True
    moves = found["partitions"]
    assert [(each["partition"], each["to"], each["passed_over"]) for each in moves] == [(0, 0, 0), (1, 0, 0)]
    assert sum(each["read_again"] for each in moves) == 10
    assert sum(each["runs_dropped"] for each in moves) == 6


async def test_a_service_that_runs_is_to_be_stopped_first(screen):
    it = await _ran()
    async with it.working():
        with pytest.raises(ConfigError, match="Stop every instance first"):
            await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False)
    await _again(it)


@pytest.mark.parametrize(
    ("to", "offsets"),
    [
        ("earliest", (0, 0)),
        ("2", (2, 2)),
        ("1000", (7, 3)),
        ("2024-06-01T00:00:02Z", (1, 1)),
        ("2024-06-01T00:00:04.500Z", (4, 2)),
        ("2030-01-01T00:00:00Z", (7, 3)),
    ],
)
async def test_where_to_go(to, offsets, screen):
    """An offset that is not there is the next one that is; a time is its first record, else the end."""
    it = await _ran()
    await reset_offsets(desk_of(it), target(to), screen.consoles, dry_run=False)
    assert tuple(it.kafka.offsets[it.source(number)].offset for number in range(PARTITIONS)) == offsets
    assert ("instead of 1000" in screen.out) == (to == "1000")
    await _again(it)
    assert it.is_summed()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("2030-01-01T00:00:00Z", "3 records that were never processed are skipped: partitions 0, 1 "),
        ("1000", "3 records that were never processed are skipped: partitions 0, 1 "),
        ("8", "2 records that were never processed are skipped: partitions 0, 1 "),
        ("3", None),
        ("earliest", None),
    ],
)
async def test_what_is_passed_over_unread_is_said_before_anything_is_done(dry_run, to, words, screen):
    """Where no record has such a time, a partition goes to its end."""
    it = await _ran()
    for run, partition in (("run_0", 0), ("run_2", 0), ("run_1", 1)):
        it.send("in_progress", run=run, partition=partition, at_ms=START_MS + 20_000)
    passed = []

    def fault(point):
        passed.append((point, screen.out))

    it.kafka.fault = fault
    await reset_offsets(desk_of(it), target(to), screen.consoles, dry_run=dry_run)
    assert ("never processed" in screen.out) == (words is not None)
    assert (words or "") in screen.out
    assert all((words or "") in said for point, said in passed if "fence" in point)


@pytest.mark.parametrize("role", ["state", "windows"])
async def test_a_state_that_cannot_be_read_keeps_a_reset_from_starting(role, screen):
    """Nobody knows then what is to be dropped. What works is said instead."""
    it = await _ran()
    it.kafka.logs[getattr(it.topics, role)][0].damage()
    before = dict(it.kafka.offsets)
    with pytest.raises(ConfigError, match=r"Ways out: restore both .* or start with a new application_id") as error:
        await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False)
    assert "offsets reset" not in str(error.value)
    assert it.kafka.offsets == before


async def test_what_retention_removed_is_not_where_anybody_goes(screen):
    """And a service that stopped for it (Gone) runs again."""
    it = await _ran()
    it.send("queued", run="run_8")
    log = it.kafka.logs[it.topics.events][0]
    log.entries = log.entries[-1:]
    log.first = log.end - 1
    it.kafka.offsets[it.source()] = it.kafka.offsets[it.source()]._replace(offset=3)
    with pytest.raises(ConfigError, match="offsets reset --to earliest"):
        await it.run_to_its_end()
    await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False)
    await _again(it)
    assert set(_latest(it)) == {b"run_1", b"run_3", b"run_5", b"run_8"}


@pytest.mark.parametrize("committed", ["by somebody", "expired"])
async def test_a_foreign_commit_and_expired_offsets_are_got_out_of(committed, screen):
    """The message of the service names the command, and following it works."""
    it = await _ran()
    states, transitions = _latest(it), sorted(_ids(it, "transitions"))
    sequences = [Position.of(each, source).sequence for source, each in it.kafka.offsets.items()]
    if committed == "expired":
        it.kafka.offsets.clear()
    else:
        it.kafka.offsets.update({source: Committed(0, "") for source in (it.source(0), it.source(1))})
    with pytest.raises(ConfigError, match=r"offsets reset --to (earliest|0)"):
        await it.run_to_its_end()
    await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False)
    assert min(Position.of(it.kafka.offsets[it.source(n)], "").sequence for n in (0, 1)) > max(sequences), "ids are new"
    await _again(it)
    assert _latest(it) == states
    assert sorted(set(_ids(it, "transitions"))) == transitions


class Crash(BaseException):
    """The process ends at once."""


def _nth(number):
    """A fault that ends the command at the `number`-th point that it passes."""
    passed = count()

    def fault(point: str) -> None:
        if next(passed) == number:
            raise Crash(point)

    return fault


async def test_interrupted_anywhere_it_keeps_the_service_from_starting_and_goes_on_when_run_again(monkeypatch):
    """Until the first mark nothing has changed; after it nothing but the same command leads on."""
    monkeypatch.setattr(resetting, "AT_ONCE", 2)
    it = await _ran()
    states, transitions = _latest(it), sorted(_ids(it, "transitions"))
    untouched = dict(it.kafka.offsets)
    moves = await planned(desk_of(it), target("earliest"))
    refused = 0
    for number in count():
        it.kafka.fault = _nth(number)
        try:
            await Reset(desk_of(it), moves).run()
            break
        except Crash:
            it.kafka.fault = lambda _: None
            marked = {place for place, found in it.kafka.offsets.items() if '"reset"' in found.metadata}
            if marked:
                refused += 1
                with pytest.raises(ConfigError, match="was interrupted: run it again"):
                    await it.run_to_its_end()
            else:
                assert it.kafka.offsets.keys() == untouched.keys()
    assert number > 50
    assert refused > 30
    it.kafka.fault = lambda _: None
    await _again(it)
    assert _latest(it) == states
    assert sorted(set(_ids(it, "transitions"))) == transitions


async def test_who_is_fenced_says_that_the_reset_is_not_finished():
    it = await _ran()
    moves = await planned(desk_of(it), target("earliest"))

    def fault(point):
        if point == "before the end":
            raise TaskInvalid("fenced")

    it.kafka.fault = fault
    with pytest.raises(
        ConfigError, match=r"not finished .*: another process took over run-events partition 0, or Kafka did not answer"
    ):
        await Reset(desk_of(it), moves).run()


async def test_show_tells_where_each_partition_stands_and_by_whom(screen):
    it = await _ran()
    it.send("queued", run="run_9", partition=1)
    it.kafka.offsets[it.source(0)] = Committed(2, "")
    it.kafka.offsets.pop(it.measured(1))
    assert await show_offsets(desk_of(it), screen.consoles, as_json=True) == 0
    said = json.loads(screen.out)
    assert said["group"] == {"id": "app", "state": "Empty", "members": []}
    events, other, _, nobody = said["partitions"]
    assert {name: events[name] for name in ("topic", "partition", "committed", "end", "lag", "by")} == {
        "topic": "run-events",
        "partition": 0,
        "committed": 2,
        "end": 7,
        "lag": 5,
        "by": "something else",
    }
    assert (events["sequence"], nobody["by"], nobody["committed"]) == (None, "nobody", None)
    assert (other["by"], other["lag"], other["live_keys"]) == ("streamproc", 1, 3)
    await show_offsets(desk_of(it), screen.consoles, as_json=False)
    assert "something else" in screen.out
    assert "group app: Empty, no members" in screen.out


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (
            '{"format":1,"profile":"x","sequence":"x","live_keys":null,"stream_time":[],"partitions":1}',
            "something else",
        ),
        ('{"format":1,"profile":"x","sequence":1,"live_keys":1,"stream_time":1e300,"partitions":1}', "something else"),
        (Position(1, 1, 1, 2**62, 1, "x").to_committed().metadata, str(2**62)),
    ],
)
async def test_show_tells_of_whatever_was_committed(metadata, words, screen):
    it = await application()
    it.kafka.offsets[it.source()] = Committed(0, metadata)
    for as_json in (True, False):
        assert await show_offsets(desk_of(it), screen.consoles, as_json=as_json) == 0
        assert words in screen.out


@pytest.mark.parametrize("role", ["source", "measured"])
@pytest.mark.parametrize("dry_run", [True, False])
async def test_another_profile_is_refused_before_anything_is_written(role, dry_run, screen):
    """The service would refuse the position: what was processed with one profile is rebuilt with the same."""
    it = await _ran()
    place = getattr(it, role)(1)
    it.kafka.offsets[place] = Position.of(it.kafka.offsets[place], place)._replace(profile="jobs").to_committed()
    before = dict(it.kafka.offsets), dict(it.kafka.epochs)
    with pytest.raises(ConfigError, match=r"processed with profile jobs, and these settings say assistants.*--config"):
        await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=dry_run)
    assert (it.kafka.offsets, it.kafka.epochs) == before


async def test_where_no_position_tells_a_profile_any_is_accepted(screen):
    it = await _ran()
    it.kafka.offsets = {place: Committed(0, "") for place in it.kafka.offsets}
    desk = desk_of(it)._replace(profile="jobs")
    await reset_offsets(desk, target("earliest"), screen.consoles, dry_run=False)
    assert Position.of(it.kafka.offsets[it.source()], "").profile == "jobs"


async def _move(it, to):
    """Return what becomes of partition 0, of which 7 offsets were processed, the last that a run remembers is 6."""
    return (await planned(desk_of(it), target(to)))[0]


def _foreign(it, offset):
    it.kafka.offsets[it.source()] = Committed(offset, "")


async def test_how_much_is_read_again_after_a_foreign_commit_the_states_tell(screen):
    it = await _ran()
    _foreign(it, 0)
    assert [(await _move(it, to)).again for to in ("0", "5", "7")] == [7, 2, 0]
    assert [(await _move(it, to)).passed for to in ("0", "5", "7")] == [0, 0, 0]
    it.send("queued", run="run_8")
    assert (await _move(it, "8")).passed == 1
    await reset_offsets(desk_of(it), target("0"), screen.consoles, dry_run=True)
    assert "10 offsets would be read again; 6 runs" in screen.out


async def test_how_much_is_read_again_its_own_commit_tells_where_it_is_ahead_of_the_states():
    """The last record was rubbish, which no run remembers."""
    it = await _ran()
    it.send_bytes(b"rubbish")
    await _again(it)
    assert (await _move(it, "0")).again == 8


async def test_how_much_is_read_again_after_an_interrupted_reset_the_states_tell_that_are_left(monkeypatch):
    monkeypatch.setattr(resetting, "AT_ONCE", 1)
    it = await _ran()
    moves = await planned(desk_of(it), target("0"))

    def fault(point):
        if point == "before the end" and '"reset"' in it.kafka.offsets[it.measured(1)].metadata:
            raise Crash(point)

    it.kafka.fault = fault
    with pytest.raises(Crash):
        await Reset(desk_of(it), moves).run()
    it.kafka.fault = lambda _: None
    assert it.kafka.offsets[it.source()].offset == 0
    assert (await _move(it, "0")).again == 7


async def test_how_much_is_read_again_is_unknown_where_nothing_tells(screen):
    """A foreign commit and no state: everything that is there, at most."""
    it = await _ran()
    it.kafka.logs[it.topics.state][0].entries.clear()
    _foreign(it, 0)
    move = await _move(it, "2")
    assert (move.again, move.passed) == (None, None)
    await reset_offsets(desk_of(it), target("2"), screen.consoles, dry_run=True)
    assert "unknown, up to 5" in screen.out
    assert "1 to 6 offsets would be read again" in screen.out


async def test_a_state_that_is_damaged_does_not_keep_anybody_from_going_back(screen):
    """It is what a reset is for; how far the service had come it does not tell."""
    it = await _ran()
    state = it.kafka.logs[it.topics.state][0]
    state.append((b"run_0", b"\xc3\x01 damaged", START_MS, ()), "committed")
    assert (await _move(it, "0")).again == 7, "its own commit tells"
    _foreign(it, 0)
    assert (await _move(it, "0")).again is None
    await reset_offsets(desk_of(it), target("0"), screen.consoles, dry_run=False)
    await _again(it)


async def test_where_nothing_was_ever_processed_nothing_is_read_again():
    it = await application()
    it.send("queued")
    assert (await _move(it, "0")).again == 0
    assert (await _move(it, "1")).passed == 1


async def test_what_comes_again_with_smaller_totals_is_said(screen):
    it = await _ran()
    await reset_offsets(desk_of(it), target("2"), screen.consoles, dry_run=True)
    assert "straddle the new position" in screen.out
    assert "smaller totals under the same ce_id" in screen.out


async def test_a_missing_topic_is_named(screen):
    it = await _ran()
    del it.kafka.logs["run-windows"]
    with pytest.raises(ConfigError, match="run-windows does not exist"):
        await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False)


async def test_the_number_of_partitions_counts_for_the_new_position(screen):
    """The states were dropped, so a changed count is no reason to refuse any more."""
    it = await _ran()
    source = TopicPartition("run-events", 0)
    position = Position.of(it.kafka.offsets[source], source)
    it.kafka.offsets[source] = position._replace(partitions=9).to_committed()
    with pytest.raises(ConfigError):
        await it.worker().run()
    await reset_offsets(desk_of(it), target("earliest"), screen.consoles, dry_run=False)
    async with it.working():
        await eventually(it.is_summed)
