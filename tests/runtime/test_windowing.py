"""Both stages under one worker on the fake: measurements, marks, windows; whatever happens in between."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs

from streamproc.codec.measurements import decode_measurements
from streamproc.codec.windows import decode_window_states
from streamproc.core.costs import ANY_MODEL, MILLION, CostRules
from streamproc.core.failures import FailureRules
from streamproc.core.measure import Mark, Measurement
from streamproc.core.model import MAX_AHEAD_MS, Moment
from streamproc.core.sources import NOT_HEARD, SourceMark, Sources
from streamproc.core.windowstate import WindowRules
from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.position import Position
from streamproc.runtime.restore import WAYS_OUT
from streamproc.runtime.stage import Absorbed, SizeLimits, TooMany
from streamproc.runtime.taskstates import TaskState
from streamproc.runtime.windowing import WindowStage
from streamproc.store.store import ALONE
from tests.support import earlier
from tests.support.application import WINDOWS, Application, always, application, once
from tests.support.metrics_oracle import (
    FailureLimits,
    Totals,
    WindowOf,
    failure_alerts,
    latest,
    one_pass,
    windows,
)
from tests.support.runobjects import START_MS, Arrived, framed, run_object
from tests.support.sums import totals_from
from tests.support.waiting import eventually

MINUTE_MS = 60_000
GRACE_MS, RETENTION_MS = 30_000, 600_000
RULES = structs.replace(WINDOWS, grace_ms=GRACE_MS, retention_ms=RETENTION_MS)
CLOSES_MS = MINUTE_MS + GRACE_MS
QUEUED = framed("v2_1", run_object(status="queued"))


async def _application(partitions: int = 1, rules: WindowRules = RULES, **settings: Any) -> Application:
    return await application(partitions, windows=rules, **settings)


def _expected(app: Application, sizes_ms: Sequence[int] = (MINUTE_MS,)) -> dict[WindowOf, Totals]:
    passes = [one_pass(app.events(number), app.now_ms, partition=number) for number in range(_partitions(app))]
    return windows((fact for each in passes for fact in each.facts), sizes_ms)


def _partitions(app: Application) -> int:
    return len(app.kafka.logs[app.topics.events])


async def _time_passes(app: Application, by_ms: int = 10 * MINUTE_MS) -> None:
    """Let the clock go on, until every source has said so to every window task, and these have taken it."""
    app.now_ms += by_ms
    numbers = range(_partitions(app))

    def told() -> bool:
        said = [{mark.source_partition for mark in app.marks(each) if mark.sent_at == app.now_ms} for each in numbers]
        return all(sources == set(numbers) for sources in said) and app.is_summed()

    await eventually(told)


def _lives(app: Application, runs: int = 12) -> None:
    """Send new runs of two assistants and three models through their lives, within a minute or two."""
    first = sum(log.end for log in app.kafka.logs[app.topics.events])
    for number in range(runs):
        place = number % _partitions(app)
        about = {"assistant_id": f"asst_{number % 2}", "model": f"model_{number % 3}", "created_at": app.now_ms // 1000}
        at_ms = app.now_ms + number * 3_000
        for step, status in enumerate(("queued", "in_progress", "failed" if number % 4 == 0 else "completed")):
            app.send(status, f"run_{first + number}", place, at_ms + step * 2_000, **about)


def _dropped(app: Application) -> Counter[str]:
    return sum((Counter(report.dropped) for report in app.told.windows), Counter())


def _created(app: Application) -> list[tuple[int, int, int]]:
    """Return revision, runs created and late arrivals of each record of run-metrics."""
    return [
        (revision.number, revision.totals["created"], revision.late)
        for found in app.revisions().values()
        for revision in found
    ]


# Exactly once


@pytest.mark.parametrize("partitions", [1, 3])
async def test_metrics_are_the_totals_of_one_pass(partitions: int) -> None:
    """Whatever the number of partitions: each window once, as revision 0."""
    app = await _application(partitions)
    _lives(app, runs=40)
    async with app.working():
        await app.summed()
        await _time_passes(app)
    assert latest(app.revisions()) == _expected(app)
    assert {len(found) for found in app.revisions().values()} == {1}
    assert len(_expected(app)) > 12


async def test_a_restart_in_between_repeats_and_loses_nothing() -> None:
    """With windows open; the state is what run-windows says."""
    app = await _application(3)
    for _ in range(3):
        _lives(app)
        async with app.working():
            await app.summed()
        app.now_ms += MINUTE_MS
    async with app.working():
        await _time_passes(app)
    assert latest(app.revisions()) == _expected(app)


async def test_a_rebalance_in_between_repeats_and_loses_nothing() -> None:
    """Windows and sources change hands, or come back with their state."""
    app = await _application(3)
    _lives(app)
    async with app.working():
        await app.summed()
        async with app.working():
            _lives(app)
            await app.summed()
            app.kafka.rebalance()
            _lives(app)
            await app.summed()
        app.kafka.rebalance()
        await _time_passes(app)
    assert latest(app.revisions()) == _expected(app)


@pytest.mark.parametrize("point", ["send", "before the end", "after the end"])
async def test_a_commit_that_fails_in_between_repeats_and_loses_nothing(point: str) -> None:
    """Of whichever stage it is: the first one, and later each time a window closes."""
    app = await _application()
    app.kafka.fault = once(point, TaskInvalid("no answer"))
    _lives(app)
    async with app.working():
        await app.summed()
        for _ in range(5):
            app.kafka.fault = once(point, TaskInvalid("no answer"))
            await _time_passes(app, MINUTE_MS)
        await _time_passes(app)
    assert latest(app.revisions()) == _expected(app)
    assert len(app.told.failures) >= 5


async def test_an_aborted_fold_measures_nothing() -> None:
    """Measurements and marks are in the transaction of the events that they are of."""
    app = await _application()
    app.kafka.fault = always("before the end", lambda: TaskInvalid("no"))
    app.send("queued")
    async with app.working():
        await eventually(lambda: len(app.told.failures) > 2)
    assert app.output("measurements") == []


async def test_nothing_is_processed_twice_by_the_windows_offset() -> None:
    """rules.md 5: what their position says; the stream time is the watermark."""
    app = await _application()
    _lives(app)
    async with app.working():
        await app.summed()
        await _time_passes(app)
    found = app.kafka.offsets[app.measured()]
    position = Position.of(found, "")
    assert found.offset == app.output("measurements")[-1].offset + 1
    assert position.stream_time == app.now_ms
    assert position.live_keys == len(
        {entry.key: entry for entry in app.output("windows") if entry.value}.keys() - _gone(app)
    )


def _gone(app: Application) -> set[bytes | None]:
    last = {entry.key: entry for entry in app.output("windows")}
    return {key for key, entry in last.items() if entry.value is None}


# Where things go


async def test_measurements_go_where_their_key_says_and_marks_everywhere() -> None:
    """rules.md 2 and 18: every window task hears of every source."""
    app = await _application(3)
    _lives(app)
    async with app.working():
        await app.summed()
    groups = set()
    for number in range(3):
        for measurement in app.measurements(number):
            group = measurement.assistant_id, measurement.model
            assert app.kafka.partition_of(json.dumps(group, separators=(",", ":")).encode(), 3) == number
            groups.add(group)
        assert {mark.source_partition for mark in app.marks(number)} == {0, 1, 2}
    assert len(groups) == 6
    assert {entry.key for entry in app.outputs("measurements")} == {None}


async def test_metrics_are_in_the_partition_of_their_key() -> None:
    """rules.md 2: with the key of the measurements."""
    app = await _application(3)
    _lives(app)
    async with app.working():
        await app.summed()
        await _time_passes(app)
    for number in range(3):
        for entry in app.output("metrics", number):
            assert app.kafka.partition_of(entry.key or b"", 3) == number
    ids = [dict(entry.headers)["ce_id"] for entry in app.outputs("metrics")]
    assert len(set(ids)) == len(ids)


# Marks


async def test_marks_come_at_most_once_a_second() -> None:
    """However many commits there are."""
    app = await _application(max_records=1)
    async with app.working():
        for number in range(30):
            app.send("queued", f"run_{number}")
            await app.summed()
            app.now_ms += 100
    sent = [mark.sent_at for mark in app.marks()]
    assert len(sent) > 2
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 1_000


async def test_a_source_that_is_caught_up_says_so() -> None:
    """A busy one says how far it came; what was seen last is told along."""
    app = await _application(max_records=1)
    async with app.working():
        await eventually(lambda: bool(app.marks()))
    app.now_ms += 1_000
    for number in range(2):
        app.send("queued", f"run_{number}", at_ms=START_MS + 700 + number)
    async with app.working():
        await app.summed()
        app.now_ms += 1_000
        await eventually(lambda: app.marks()[-1].sent_at == START_MS + 2_000)
    assert app.marks() == [
        Mark(0, 0, idle=True, seen_at=0, sent_at=START_MS),
        Mark(0, START_MS + 700, idle=False, seen_at=START_MS + 1_000, sent_at=START_MS + 1_000),
        Mark(0, START_MS + 701, idle=True, seen_at=START_MS + 1_000, sent_at=START_MS + 2_000),
    ]


async def test_marks_of_one_second_go_out_together() -> None:
    """Each goes to every partition: what comes in the middle of a second is told at the beginning of the next."""
    app = await _application(2)
    async with app.working():
        await eventually(lambda: len(app.marks(1)) == 2)
        app.now_ms += 500
        app.send("queued", partition=1)
        await app.summed()
        assert len(app.marks(1)) == 2
        app.now_ms += 500
        await eventually(lambda: len(app.marks(1)) > 2)
    told = app.marks(1)[2]
    assert (told.source_partition, told.sent_at, told.seen_at) == (1, START_MS + 1_000, START_MS + 500)


async def test_a_source_whose_state_was_read_back_says_anew_where_it_is() -> None:
    """Somebody else may have said otherwise in between; until then it is not late by a second, either."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
        before = len(app.marks())
        found = app.kafka.offsets[app.source()]
        metadata = {**json.loads(found.metadata), "sequence": 99}
        app.kafka.rebalance()  # What follows happens before the worker's task comes back.
        app.kafka.offsets[app.source()] = found._replace(metadata=json.dumps(metadata))
        await eventually(lambda: len(app.marks()) > before)
    assert app.marks()[-1].sent_at == app.marks()[0].sent_at == START_MS


async def _fetched(app: Application) -> None:
    """Wait until the input, partition after partition, was fetched from some twenty times."""
    fetches, topic = app.kafka.fetches, app.topics.events
    before = fetches[topic]
    await eventually(lambda: fetches[topic] > before + 20)


async def _unanswered(app: Application) -> None:
    """Wait until every source has fetched in vain a few times."""
    app.kafka.silent.add(app.topics.events)
    await _fetched(app)


async def test_a_source_whose_first_fetch_is_not_answered_says_nothing() -> None:
    """It knows of no unread event because it knows of none: windows would close over what the answer brings."""
    app = await _application(2)
    _lives(app)
    app.now_ms += 10 * MINUTE_MS
    app.kafka.silent.add(app.topics.events)
    async with app.working():
        await _unanswered(app)
        assert app.marks() == []
        assert {place for place in app.told.lags if place.topic == app.topics.events} == set()
        app.kafka.silent.clear()
        await app.summed()
        await _time_passes(app)
    assert latest(app.revisions()) == _expected(app)
    assert {len(found) for found in app.revisions().values()} == {1}


async def test_the_age_of_a_backlog_stays_while_a_fetch_is_not_answered() -> None:
    """Else an alert about it would begin anew with each slow fetch."""
    app = await _application(max_records=10)
    for number in range(20):
        app.send("queued", f"run_{number}", at_ms=START_MS - 3_600_000)

    def fall_silent(point: str) -> None:
        if point == "after the end" and len(app.kafka.offsets) == 1:
            app.kafka.silent.add(app.topics.events)

    app.kafka.fault = fall_silent
    async with app.working():
        await eventually(lambda: bool(app.kafka.silent))
        await _fetched(app)
        assert app.told.lags[app.source()] == (10, 3_600.0)


async def test_a_source_that_gets_no_answer_any_more_says_nothing() -> None:
    """That it was caught up before does not tell of the time since."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
        app.now_ms += MINUTE_MS
        await eventually(lambda: app.marks()[-1].idle)
        await _unanswered(app)
        before = app.marks()
        app.now_ms += MINUTE_MS
        await _unanswered(app)
        assert app.marks() == before


async def test_a_source_with_an_open_transaction_in_front_of_it_says_nothing() -> None:
    """What it holds back is unread, and no deadline passes over it: the end of a run may be there."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
        held_back = app.kafka.logs[app.topics.events][0].append((None, b"", app.now_ms, []), "open")
        await _fetched(app)
        before = app.marks()
        app.now_ms += 100 * MINUTE_MS
        await _fetched(app)
        assert (app.marks(), app.outputs("metrics"), app.outputs("alerts")) == (before, [], [])
        held_back.status = "aborted"
        await eventually(lambda: bool(app.outputs("metrics")))


async def test_an_idle_application_commits_hardly_anything() -> None:
    """While the clock stands still, nothing; and then a few marks a minute."""
    app = await _application(2)
    async with app.working():
        await app.summed()
        await eventually(lambda: len(app.marks(0)) == 2)
        before = len(app.told.windows)
        rounds = app.told.rounds
        await eventually(lambda: app.told.rounds > rounds + 20)
        assert [len(app.marks(number)) for number in range(2)] == [2, 2]
        assert len(app.told.windows) <= before + 4
    assert not any(app.outputs(role) for role in ("metrics", "alerts", "transitions"))


async def test_an_event_far_ahead_moves_no_watermark_and_keeps_no_window_open() -> None:
    """rules.md 18: a producer's broken clock is that producer's matter."""
    app = await _application()
    app.send("queued", "run_1")
    app.send("queued", "run_2", at_ms=START_MS + MAX_AHEAD_MS + 1)
    app.send("queued", "run_3", at_ms=2**62)
    async with app.working():
        await app.summed()
        assert max(mark.watermark for mark in app.marks()) == START_MS
        await _time_passes(app)
    assert _created(app) == [(0, 3, 0)]


def _batch(app: Application, *records: Arrived, read_all: bool) -> Mark:
    """Return the mark of a commit of these records by the fold of partition 0, on top of an event at START_MS."""
    stage, _ = app.stages()(1, SizeLimits(), ALONE)
    at = Moment(START_MS, caught_up=False)
    kept = stage.fresh(0, START_MS)
    batch = kept.begin(Position(0, 0, 0, START_MS, 1, "assistants"), None)
    batch.absorb(records, stage.decode({0: records})[0], at)
    batch.pass_time(at, heard=True, read_all=read_all)
    batch.close(at)
    outputs = stage.encode([batch], at)[app.measured()]
    sent = [Arrived(0, value, timestamp, key) for key, value, timestamp, _ in outputs]
    ((mark,),) = (record.marks for record in decode_measurements(sent).arrivals)
    return mark


@pytest.mark.parametrize(
    ("value", "at_ms", "idle"),
    [
        (b"garbage", START_MS + 1, True),
        (QUEUED, START_MS + MAX_AHEAD_MS + 1, True),
        (QUEUED, START_MS - 5_000, True),
        (QUEUED, START_MS + 1, False),
    ],
    ids=["a bad record", "a time that is not believed", "a late event", "an event"],
)
async def test_records_that_move_no_time_hold_nobody_back(value: bytes, at_ms: int, idle: bool) -> None:
    """A partition that gets nothing else, but that all the time, is as good as idle once all was read."""
    app = await _application()
    assert _batch(app, Arrived(0, value, at_ms), read_all=True).idle is idle
    assert _batch(app, Arrived(0, value, at_ms), read_all=False).idle is False


# Late, and too late


async def test_a_late_arrival_makes_a_revision() -> None:
    """The full total again, under the next number."""
    app = await _application()
    app.send("queued", "run_1")
    async with app.working():
        await app.summed()
        await _time_passes(app, CLOSES_MS)
        assert _created(app) == [(0, 1, 0)]
        app.send("queued", "run_2", at_ms=START_MS)
        await app.summed()
    app.send("queued", "run_3", at_ms=START_MS)
    async with app.working():
        await app.summed()
    assert _created(app) == [(0, 1, 0), (1, 2, 1), (2, 3, 2)]
    assert sum(report.late for report in app.told.windows) == 2
    assert sum(report.revised for report in app.told.windows) == 2


async def test_what_comes_after_the_retention_is_counted_and_dropped() -> None:
    """And the window left a tombstone."""
    app = await _application()
    app.send("queued", "run_1")
    async with app.working():
        await app.summed()
        await _time_passes(app, CLOSES_MS + RETENTION_MS)
        app.send("queued", "run_2", at_ms=START_MS)
        await app.summed()
    assert _created(app) == [(0, 1, 0)]
    assert _dropped(app) == {"late": 1}
    assert [json.loads(key or b"")[0] for key in _gone(app)] == ["window"]


async def test_an_outage_makes_nothing_late() -> None:
    """rules.md 16: a service that was down for longer than grace and retention reads what came in between first."""
    app = await _application(2, structs.replace(RULES, silence_ms=MINUTE_MS))
    async with app.working():
        _lives(app)
        await app.summed()
    for _ in range(30):
        app.now_ms += 2 * MINUTE_MS
        _lives(app, 4)
    app.now_ms += 2 * MINUTE_MS
    async with app.working():
        await app.summed()
        await _time_passes(app, MINUTE_MS // 2)
        await _time_passes(app, CLOSES_MS)
    assert latest(app.revisions()) == _expected(app)
    assert {len(found) for found in app.revisions().values()} == {1}
    assert sum(report.late for report in app.told.windows) == _dropped(app).total() == 0
    assert [alert for alert in app.alerts() if alert.decided_at < app.now_ms - CLOSES_MS] == []


async def test_a_source_that_cannot_read_is_not_idle() -> None:
    """rules.md 16: silence is no proof that nothing is left to read."""
    app = await _application(rules=structs.replace(RULES, silence_ms=MINUTE_MS))
    app.send("queued")
    async with app.working():
        await app.summed()
        app.kafka.fault = always("fetch", lambda: BrokerUnavailable("away"))
        await eventually(lambda: bool(app.told.failures))
        app.now_ms += 100 * MINUTE_MS
        failures = len(app.told.failures)
        await eventually(lambda: len(app.told.failures) > failures + 3)
        assert app.outputs("metrics") == app.outputs("alerts") == []
        app.kafka.fault = lambda _: None
        await eventually(lambda: bool(app.outputs("metrics")))


# What others write


async def test_a_foreign_record_goes_to_the_dead_letters() -> None:
    """From whatever topic it is; the others are summed."""
    app = await _application()
    log = app.kafka.logs[app.topics.measurements][0]
    log.append((b"key", b"\x07garbage", START_MS, [("h", b"v")]), "committed")
    log.append((None, None, START_MS, []), "committed")
    app.send("queued")
    async with app.working():
        await app.summed()
        await _time_passes(app)
    letters = app.output("dead_letters")
    assert [(letter.key, letter.value) for letter in letters] == [(b"key", b"\x07garbage"), (None, None)]
    headers = dict(letters[0].headers)
    assert headers["h"] == b"v"
    assert headers["streamproc.source.topic"] == app.topics.measurements.encode()
    assert headers["streamproc.source.offset"] == b"0"
    assert headers["streamproc.error.reason"] == b"bad_framing"
    assert _created(app) == [(0, 1, 0)]


async def test_what_nobody_should_send_passes() -> None:
    """Long names, thousands of error codes, impossible counts and times: nothing ends, and the state stays small."""
    app = await _application(max_records=500)
    for number in range(1_200):
        usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 2**62)
        error = {"code": f"code_{number}" + "x" * (number % 99), "message": ""}
        at_ms = (START_MS, 0, -1, -(2**62), 2**62)[number % 5]
        name = "n" * 1_000 + str(number)
        app.send("failed", f"run_{number}", at_ms=at_ms, assistant_id=name, model=name, last_error=error, usage=usage)
        app.send("completed", f"run_{number}", at_ms=at_ms)
    async with app.working():
        await app.summed()
        await _time_passes(app)
        await _time_passes(app, CLOSES_MS + RETENTION_MS)
        assert app.told.failures == []
    found = latest(app.revisions())
    assert {(window.assistant_id, window.model) for window in found} == {("other", "other")}
    assert sum(totals["created"] for totals in found.values()) + _dropped(app).total() == 1_200
    assert max(len(totals["errors"]) for totals in found.values()) <= 101
    assert max(len(entry.value or b"") for entry in app.outputs("windows")) < 20_000
    assert len([alert for alert in app.alerts() if alert.kind == "illegal"]) == 1_200


# Restore


async def _refused(app: Application, message: str) -> None:
    before = len(app.outputs("metrics"))
    with pytest.raises(ConfigError, match=message):
        await app.run_to_its_end()
    assert len(app.outputs("metrics")) == before


def _truncate(app: Application) -> None:
    app.kafka.logs[app.topics.windows][0].entries.clear()


def _add_a_key(app: Application) -> None:
    log = app.kafka.logs[app.topics.windows][0]
    known = next(entry for entry in log.stable(0) if (entry.key or b"").startswith(b'["window"'))
    log.append(((known.key or b"").replace(b"null", b'"another"'), known.value, 0, known.headers), "committed")


def _damage(app: Application) -> None:
    log = app.kafka.logs[app.topics.windows][0]
    known = log.stable(0)[-1]
    log.append((known.key, (known.value or b"")[:-1], 0, known.headers), "committed")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_truncate, rf"(?s)run-windows partition 0 holds 0 keys, but 2 were committed.*{WAYS_OUT}"),
        (_add_a_key, rf"(?s)run-windows partition 0 holds 3 keys, but 2 were committed.*{WAYS_OUT}"),
        (_damage, "damaged"),
    ],
    ids=["truncated", "one too many", "damaged"],
)
async def test_a_state_that_is_not_what_was_committed_is_refused(
    harm: Callable[[Application], None], message: str
) -> None:
    """rules.md 6: never a partial or empty state in silence."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
    harm(app)
    await _refused(app, message)


async def test_a_state_without_a_committed_offset_is_refused() -> None:
    """rules.md 6: offsets expire in groups that are left empty."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
    del app.kafka.offsets[app.measured()]
    await _refused(app, "run-windows partition 0 holds .* no committed offset")


async def test_a_state_ahead_of_the_committed_offset_is_refused() -> None:
    """rules.md 6: measurements would be summed twice."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
    found = app.kafka.offsets[app.measured()]
    app.kafka.offsets[app.measured()] = found._replace(offset=0)
    await _refused(app, "run-windows partition 0 is ahead of the committed offset 0")


async def test_state_kept_across_a_rebalance_is_reused() -> None:
    """rules.md 5, for the second stage: its whole position matches."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.summed()
        reads = app.kafka.read_back.count(app.topics.windows)
        running = (0, TaskState.RUNNING)
        for rebalances in (1, 2):
            app.kafka.rebalance()
            await eventually(lambda count=rebalances: app.told.window_states.count(running) == 1 + count)
        await _time_passes(app)
    assert app.kafka.read_back.count(app.topics.windows) == reads == 1
    assert _created(app) == [(0, 1, 0)]


def _as_of_an_earlier_release(app: Application) -> None:
    """Let run-windows hold what an earlier release would have written of the same, and the position say so."""
    log, place = app.kafka.logs[app.topics.windows][0], app.measured()
    live = {entry.key: entry for entry in log.stable(0)}
    found = decode_window_states([entry for entry in live.values() if entry.value])
    log.entries.clear()
    count = 0
    for key, value, offset in found:
        parts = {key: value}
        if isinstance(value, Sources):
            marks = zip(value.watermarks, value.read_until, value.seen_at, strict=True)
            parts = {number: SourceMark(*each) for number, each in enumerate(marks) if each[0] != NOT_HEARD}
        for each in (earlier.state(*part, offset) for part in parts.items()):
            log.append((each.key, each.value, 0, []), "committed")
            count += 1
    position = json.loads(app.kafka.offsets[place].metadata)
    metadata = json.dumps({**position, "live_keys": count})
    app.kafka.offsets[place] = app.kafka.offsets[place]._replace(metadata=metadata)


async def test_an_upgrade_goes_on_from_what_an_earlier_release_wrote() -> None:
    """rules.md 6 and 23: its state is proven and restored, what it had measured is summed, its keys are dropped."""
    app = await _application(2)
    _lives(app)
    async with app.working():
        await app.summed()
    _as_of_an_earlier_release(app)
    extra = Measurement("asst_9", None, START_MS, totals_from(created=7, transitions={"queued": 7}))
    said = Mark(1, START_MS, idle=True, seen_at=START_MS, sent_at=app.now_ms)
    for value in (earlier.measurement(extra), earlier.mark(said)):
        app.kafka.logs[app.topics.measurements][0].append((b"key", value, app.now_ms, []), "committed")
    async with app.working():
        await app.summed()
    live = {entry.key: entry.value for entry in app.output("windows")}
    assert [key for key, value in live.items() if value and json.loads(key or b"")[0] == "source"] == []
    assert [json.loads(key or b"")[1] for key, value in live.items() if not value] == [0, 1]
    async with app.working():
        await _time_passes(app)
    found = latest(app.revisions())
    assert found.pop(WindowOf("asst_9", None, MINUTE_MS, START_MS))["created"] == 7
    assert found == _expected(app)
    assert app.output("dead_letters") == []


# Settings that change


async def test_other_window_sizes_across_a_restart() -> None:
    """Windows of the old size end as they were; the new ones hold what came since."""
    app = await _application()
    app.send("queued", "run_1")
    async with app.working():
        await app.summed()
    app.windows = structs.replace(RULES, sizes_ms=(30_000, 120_000))
    app.send("queued", "run_2", at_ms=START_MS + 40_000)
    async with app.working():
        await app.summed()
        await _time_passes(app)
    found = {
        (window.size_ms, window.start - START_MS): totals["created"]
        for window, totals in latest(app.revisions()).items()
    }
    assert found == {(60_000, 0): 1, (30_000, 30_000): 1, (120_000, 0): 1}


async def test_a_longer_grace_across_a_restart_loses_nothing() -> None:
    """What had closed gets its next revision."""
    app = await _application()
    app.send("queued", "run_1")
    async with app.working():
        await app.summed()
        await _time_passes(app, CLOSES_MS)
    app.windows = structs.replace(RULES, grace_ms=10 * GRACE_MS)
    app.send("queued", "run_2", at_ms=START_MS)
    async with app.working():
        await app.summed()
    assert _created(app) == [(0, 1, 0), (1, 2, 1)]


# Alerts of the windows


async def test_failure_rates_are_told_as_of_one_pass() -> None:
    """Each pair by the task that sums the group; nothing about a run in it; whatever restarts there are."""
    limits = FailureLimits(MINUTE_MS, GRACE_MS, min_ended=2)
    app = await _application(3, structs.replace(RULES, conditions=(FailureRules(min_ended=2),)))
    for minute in range(6):
        _lives(app)
        if minute % 2:
            async with app.working():
                await app.summed()
        app.now_ms += MINUTE_MS
    async with app.working():
        await app.summed()
        await _time_passes(app)
    found = app.alerts()
    assert sorted(found) == sorted(failure_alerts(_expected(app), limits))
    assert len(found) >= 4
    for number in range(3):
        for entry in app.output("alerts", number):
            headers = dict(entry.headers)
            assert entry.key is not None
            assert headers["ce_id"].startswith(entry.key + b":")


async def test_budgets_survive_a_restart() -> None:
    """rules.md 29: fired before, resolved behind it, once each; where there is no budget any more, at the start."""
    costs = CostRules(budget=MILLION, prices={ANY_MODEL: {"prompt": MILLION, "completion": MILLION}})
    app = await _application(3, structs.replace(RULES, conditions=(costs,)))
    usage = {"prompt_tokens": MILLION, "completion_tokens": 1, "total_tokens": MILLION + 1}
    spent: list[str] = []

    def who(state: str) -> list[str | None]:
        return sorted(said.subject[1] for said in app.alerts() if said.state == state)

    for rules in (app.windows, RULES):
        for number in range(3):
            spent.append(f"asst_{len(spent)}")
            app.send("completed", f"run_{len(spent)}", number, assistant_id=spent[-1], usage=usage)
        async with app.working():
            await app.summed()
            await _time_passes(app, CLOSES_MS)
        assert who("firing") == spent
        app.windows = rules
        async with app.working():
            if rules is not RULES:
                await _time_passes(app, MINUTE_MS)
            await eventually(lambda: who("resolved") == spent)
        app.now_ms = (app.now_ms // MINUTE_MS + 1) * MINUTE_MS
    assert {said.kind for said in app.alerts()} == {"cost_over_budget"}
    assert len(app.alerts()) == 2 * len(spent)


async def test_silence_fires_and_resolves() -> None:
    """By the one task that hears of all sources, once for the stream."""
    app = await _application(3, structs.replace(RULES, silence_ms=5 * MINUTE_MS))
    app.send("queued", partition=2)
    async with app.working():
        await app.summed()
        await _time_passes(app, 5 * MINUTE_MS - 1)
        assert app.alerts() == []
        await _time_passes(app, MINUTE_MS)
        await eventually(lambda: bool(app.alerts()))
    async with app.working():
        await _time_passes(app, MINUTE_MS)
        app.send("in_progress", partition=2)
        await app.summed()
        app.now_ms += 1_000
        await eventually(lambda: len(app.alerts()) == 2)
    firing, resolved = app.alerts()
    assert (firing.kind, firing.state, firing.since) == ("stream_silent", "firing", START_MS)
    assert (resolved.alert_id, resolved.state) == (firing.alert_id, "resolved")
    assert len(app.output("alerts", 0)) == 2


@pytest.mark.parametrize("timestamp", [-1, 1_796_000_000, 2**62])
def test_a_record_that_waits_is_no_further_behind_than_it_can_be(timestamp: int) -> None:
    """What is no time would tell of decades."""
    records, now = [Arrived(0, b"foreign", timestamp)], Moment(START_MS, caught_up=False)
    stage, nothing = WindowStage(RULES, TopicSettings(), "assistants", "app"), Position(0, 0, 0, 0, 1, "assistants")
    kept = stage.fresh(0, 0)
    batch = kept.begin(nothing, lambda *_: False)
    absorbed = batch.absorb(records, stage.decode({0: records})[0], now)
    assert absorbed == Absorbed(0, TooMany("bad_framing"))
    assert (batch.records, batch.last_timestamp) == (0, START_MS)
