"""Deadlines and alerts of the fold as commits, on the fake: the clock is in the test's hand."""

import pytest

from streamproc.core.deadlines import Deadlines
from streamproc.core.retention import Retention
from streamproc.errors import BrokerUnavailable, TaskInvalid
from streamproc.runtime.taskstates import TaskState
from tests.support.application import Application, always, application, once
from tests.support.metrics_oracle import Limits, Said, one_pass, read
from tests.support.oracle import FOREVER
from tests.support.runobjects import START_MS
from tests.support.waiting import eventually

ALLOWANCE_MS, QUEUED_MS = 30_000, 300_000
DUE_MS = QUEUED_MS + ALLOWANCE_MS
DEADLINES = Deadlines(ALLOWANCE_MS, overdue=True, limits={"queued": QUEUED_MS, "in_progress": 900_000})


async def _application(partitions: int = 1, retention: Retention = FOREVER, **settings: int) -> Application:
    return await application(partitions, retention=retention, deadlines=DEADLINES, **settings)


def _brief(app: Application) -> list[tuple[str, str]]:
    return [(alert.alert_id, alert.state) for alert in app.alerts()]


async def _told(app: Application, count: int) -> None:
    await eventually(lambda: len(app.outputs("alerts")) >= count)


async def _goes_round(app: Application, rounds: int = 5) -> None:
    """Let the worker do whatever it would do."""
    await app.summed()
    before = app.told.rounds
    await eventually(lambda: app.told.rounds > before + rounds)


async def test_a_deadline_fires_on_an_idle_partition_by_the_clock() -> None:
    """Once, by a commit without records; state and alert say so in one transaction."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await _goes_round(app)
        app.now_ms += DUE_MS - 1
        await _goes_round(app)
        assert app.alerts() == []
        app.now_ms += 1
        await _told(app, 1)
        app.now_ms += DUE_MS
        await _goes_round(app)
    assert app.alerts() == [
        Said(
            alert_id="stuck_queued:run_1:0",
            kind="stuck_queued",
            severity="warning",
            state="firing",
            subject=("run_1", None, None),
            status="queued",
            since=START_MS,
            deadline_at=START_MS + QUEUED_MS,
            ends_at=None,
            decided_at=START_MS + DUE_MS,
            source=(0, 0),
        )
    ]
    assert app.kafka.offsets[app.source()].offset == 1


async def test_the_state_is_written_with_the_flag_under_an_id_of_its_own() -> None:
    """rules.md 22: with the commit's sequence, since it is not the event that changed it."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.drained()
        app.now_ms += DUE_MS
        await _told(app, 1)
    first, flagged = app.output("state")
    reports = [report for report in app.told.reports if report.alerts]
    assert [report.alerts for report in reports] == [{("stuck_queued", "firing"): 1}]
    assert read(first, "run_state")["alerts"] == []
    assert read(flagged, "run_state")["alerts"] == ["stuck_queued:run_1:0"]
    assert (read(flagged, "run_state")["status"], flagged.key) == ("queued", b"run_1")
    _, place, offset, sequence = dict(flagged.headers)["ce_id"].decode().split(":")
    assert (place, offset) == ("0", "0")
    assert 1 < int(sequence) <= app.metadata()["sequence"]
    assert len(set(app.ids("state"))) == 2


async def test_alerts_carry_their_place_and_an_id_of_alert_and_state() -> None:
    """rules.md 2, 20 and 22: on the input's partition, keyed by the run."""
    app = await _application(3)
    app.send("queued", partition=2)
    async with app.working():
        await app.drained()
        app.now_ms += DUE_MS
        await _told(app, 1)
        app.send("in_progress", partition=2)
        await _told(app, 2)
    assert app.ids("alerts", 2) == ["stuck_queued:run_1:0:firing", "stuck_queued:run_1:0:resolved"]
    for entry in app.output("alerts", 2):
        found = read(entry, "run_alert")
        assert entry.key == b"run_1"
        assert (found["source_topic"], found["source_partition"], found["source_offset"]) == ("run-events", 2, 0)
        assert entry.timestamp <= app.now_ms


async def test_it_survives_a_restart_and_fires_once() -> None:
    """Before it is due, when it is, and after."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.drained()
    app.now_ms += DUE_MS
    for _ in range(3):
        async with app.working():
            await _told(app, 1)
            await _goes_round(app)
    app.send("in_progress")
    async with app.working():
        await _told(app, 2)
        await _goes_round(app)
    assert _brief(app) == [("stuck_queued:run_1:0", "firing"), ("stuck_queued:run_1:0", "resolved")]


async def test_it_survives_a_rebalance_and_fires_once() -> None:
    """On the worker that has the partition then."""
    app = await _application(2)
    app.send("queued", "run_0", partition=0)
    app.send("queued", "run_1", partition=1)
    async with app.working():
        await app.drained()
        async with app.working():
            await eventually(lambda: app.told.states.count((1, TaskState.RUNNING)) >= 2)
            app.now_ms += DUE_MS
            await _told(app, 2)
            app.kafka.rebalance()
            await _goes_round(app)
        app.kafka.rebalance()
        await _goes_round(app)
    assert sorted(_brief(app)) == [("stuck_queued:run_0:0", "firing"), ("stuck_queued:run_1:0", "firing")]


@pytest.mark.parametrize("point", ["send", "before the end", "after the end"])
async def test_a_commit_that_fails_neither_loses_nor_doubles_it(point: str) -> None:
    """rules.md 7 and 9: also where its outcome is unknown."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await _goes_round(app)
        app.kafka.fault = once(point, TaskInvalid("no answer"))
        app.now_ms += DUE_MS
        await _told(app, 1)
        await _goes_round(app)
        app.kafka.fault = once(point, TaskInvalid("no answer"))
        app.send("in_progress")
        await _told(app, 2)
        await _goes_round(app)
    assert _brief(app) == [("stuck_queued:run_1:0", "firing"), ("stuck_queued:run_1:0", "resolved")]


async def test_a_backlog_fires_nothing_that_it_resolves() -> None:
    """rules.md 16: the clock counts only once nothing is left unread; what the stream's time shows, fires."""
    app = await _application(max_records=1)
    app.send("queued", "resolved")
    app.send("queued", "stuck")
    app.now_ms += 10 * DUE_MS
    app.send("in_progress", "resolved", at_ms=START_MS + QUEUED_MS)
    app.send("queued", "later", at_ms=START_MS + DUE_MS)
    app.send("completed", "stuck", at_ms=START_MS + 2 * DUE_MS)
    app.send("completed", "resolved", at_ms=START_MS + 2 * DUE_MS)
    app.send("completed", "later", at_ms=START_MS + 2 * DUE_MS)
    async with app.working():
        await _goes_round(app)
    # `later` is due at the very second of the event that brings that time; its own end is two events behind.
    assert _brief(app) == [
        ("stuck_queued:stuck:1", "firing"),
        ("stuck_queued:stuck:1", "resolved"),
        ("stuck_queued:later:3", "firing"),
        ("stuck_queued:later:3", "resolved"),
    ]


async def test_an_outage_fires_nothing() -> None:
    """rules.md 16: what resolves it may be there, unread."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.drained()
        app.kafka.fault = always("fetch", lambda: BrokerUnavailable("away"))
        await eventually(lambda: bool(app.told.failures))
        app.send("in_progress", at_ms=START_MS + 1)
        app.now_ms += DUE_MS
        failures = len(app.told.failures)
        await eventually(lambda: len(app.told.failures) > failures + 3)
        app.kafka.fault = lambda _: None
        await _goes_round(app)
    assert app.alerts() == []


async def test_forgetting_resolves() -> None:
    """rules.md 17: with the tombstone, decided by the clock that forgot."""
    app = await _application(retention=Retention(terminal_ms=1_000_000, open_ms=1_000_000))
    app.send("queued")
    async with app.working():
        await app.drained()
        app.now_ms += DUE_MS
        await _told(app, 1)
        app.now_ms = START_MS + 1_010_000
        await _told(app, 2)
        await _goes_round(app)
    assert _brief(app) == [("stuck_queued:run_1:0", "firing"), ("stuck_queued:run_1:0", "resolved")]
    assert app.alerts()[1].decided_at == app.now_ms
    assert app.output("state")[-1].value is None


async def test_a_second_end_is_told_once_across_restarts() -> None:
    """rules.md 21: the state remembers, under the id of the event that made it so."""
    app = await _application()
    app.send("completed")
    async with app.working():
        await app.drained()
    for _ in range(3):
        app.send("failed")
        async with app.working():
            await _goes_round(app)
    assert _brief(app) == [("illegal:run_1:completed:failed:0", "firing")]
    assert app.ids("state") == ["run-events:0:0", "run-events:0:1"]
    assert len(app.output("transitions")) == 1


async def test_a_shorter_limit_counts_from_the_next_start() -> None:
    """For runs that are there already."""
    app = await _application()
    app.send("queued")
    async with app.working():
        await app.drained()
        app.now_ms += 100_000
        await _goes_round(app)
    assert app.alerts() == []
    app.deadlines = Deadlines(ALLOWANCE_MS, limits={"queued": 10_000})
    async with app.working():
        await _told(app, 1)
    assert _brief(app) == [("stuck_queued:run_1:0", "firing")]


async def test_thousands_at_once_all_fire() -> None:
    """In commits that stay small, each run once, also where one of them fails."""
    app = await _application(max_records=2_000)
    runs = 5_000
    for number in range(runs):
        app.send("queued", f"run_{number}")
    async with app.working():
        await app.summed()
        app.kafka.fault = once("before the end", TaskInvalid("no"))
        app.now_ms += DUE_MS
        await _told(app, runs)
        await _goes_round(app)
    assert len({alert.alert_id for alert in app.alerts()}) == len(app.alerts()) == runs
    assert max(report.alerts.total() for report in app.told.reports) <= 2_000


async def test_alerts_are_those_of_one_pass_over_a_backlog() -> None:
    """The oracle looks at every run after every event; here there are commits of three records, and restarts."""
    app = await _application(max_records=3)
    app.deadlines = Deadlines(ALLOWANCE_MS, limits={"queued": 100_000, "in_progress": 200_000})
    for number in range(60):
        status = ("queued", "in_progress", "requires_action", "queued", "completed", "failed")[number // 4 % 6]
        app.send(status, f"run_{number % 4}", at_ms=START_MS + number * 97_000, expires_at=START_MS // 1000 + number)
    app.send("completed", "last", at_ms=START_MS + 8_000_000)
    app.now_ms += 10_000_000
    for _ in range(3):
        async with app.working():
            before = len(app.told.reports)
            await eventually(lambda count=before: len(app.told.reports) > count + 2 or app.is_drained())
    async with app.working():
        await _goes_round(app)
    limits = Limits(30, stuck_s={"queued": 100, "in_progress": 200})
    expected = one_pass(app.events(), app.now_ms, limits)
    assert sorted(app.alerts(), key=repr) == sorted(expected.alerts, key=repr)
    assert {alert.kind for alert in app.alerts()} == {"stuck_queued", "stuck_in_progress", "overdue", "illegal"}
