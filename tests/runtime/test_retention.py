"""Forgetting, as commits: tombstones, and which clock they go by."""

from streamproc.core.retention import Retention
from streamproc.errors import BrokerUnavailable
from tests.support.application import Application, always, application
from tests.support.runobjects import START_MS
from tests.support.waiting import eventually

TERMINAL_MS, OPEN_MS = 60_000, 600_000


async def _application(**settings: int) -> Application:
    return await application(retention=Retention(TERMINAL_MS, OPEN_MS), **settings)


def _tombstones(app: Application) -> list[bytes | None]:
    return [entry.key for entry in app.output("state") if entry.value is None]


async def test_an_ended_run_is_forgotten_once_by_a_commit_of_the_clock() -> None:
    """rules.md 5, 17 and 22: a null with the event's id and the commit's sequence, at the time that was `now`."""
    app = await _application()
    app.send("queued")
    app.send("completed")
    async with app.working():
        await app.drained()
        before = app.metadata()
        app.now_ms += TERMINAL_MS + 2_000
        await eventually(lambda: bool(_tombstones(app)))
        after = app.metadata()
        app.now_ms += TERMINAL_MS
        app.send("queued", "run_2")
        await app.drained()
    tombstone = next(entry for entry in app.output("state") if entry.value is None)
    headers = dict(tombstone.headers)
    assert _tombstones(app) == [b"run_1"]
    assert headers["ce_id"] == f"run-events:0:1:{after['sequence']}".encode()
    assert headers["ce_time"] == b"2024-06-01T00:01:02.000Z"
    assert tombstone.timestamp == START_MS + TERMINAL_MS + 2_000
    assert after == {**before, "sequence": before["sequence"] + 1, "live_keys": 0}
    assert [(report.records, report.forgotten) for report in app.told.reports] == [(2, 0), (0, 1), (1, 0)]


async def test_an_open_run_is_remembered_longer() -> None:
    """rules.md 17: retention.open_s after its last applied event."""
    app = await _application()
    app.send("queued", "open")
    app.send("completed", "ended")
    async with app.working():
        await app.drained()
        app.now_ms += TERMINAL_MS + 2_000
        await eventually(lambda: _tombstones(app) == [b"ended"])
        app.now_ms = START_MS + OPEN_MS + 2_000
        await eventually(lambda: _tombstones(app) == [b"ended", b"open"])


async def test_a_backlog_is_read_before_the_clock_forgets() -> None:
    """rules.md 16: the wall clock counts only once nothing is left unread."""
    app = await _application(max_records=1)
    app.send("completed", "ended")
    async with app.working():
        await app.drained()
    app.now_ms += TERMINAL_MS + 2_000
    for number in range(3):
        app.send("queued", f"late_{number}", at_ms=START_MS + 1)
    async with app.working():
        await eventually(lambda: bool(_tombstones(app)))
    keys = [(entry.key, entry.value is None) for entry in app.output("state")]
    assert keys == [(b"ended", False), *[(b"late_%d" % number, False) for number in range(3)], (b"ended", True)]


async def test_an_outage_forgets_nothing() -> None:
    """rules.md 16: silence is no proof that nothing is left to read."""
    app = await _application()
    app.send("completed")
    async with app.working():
        await app.drained()
        app.kafka.fault = always("fetch", lambda: BrokerUnavailable("away"))
        await eventually(lambda: bool(app.told.failures))
        app.now_ms += TERMINAL_MS + 2_000
        failures = len(app.told.failures)
        await eventually(lambda: len(app.told.failures) > failures + 3)
        assert _tombstones(app) == []
        app.kafka.fault = lambda _: None
        await eventually(lambda: _tombstones(app) == [b"run_1"])


async def test_stream_time_forgets_in_a_backlog() -> None:
    """rules.md 16 and 17: the events themselves say that the time is over; ce_time is then the stream's."""
    app = await _application(max_records=1)
    app.send("queued", "old", at_ms=START_MS)
    async with app.working():
        await app.drained()
    later = START_MS + OPEN_MS + 5_000
    app.send("queued", "new", at_ms=later)
    app.send("queued", "newer", at_ms=later)
    app.now_ms = later
    async with app.working():
        await app.drained()
    tombstone = next(entry for entry in app.output("state") if entry.value is None)
    assert (tombstone.key, tombstone.timestamp) == (b"old", later)
    assert dict(tombstone.headers)["ce_time"] == b"2024-06-01T00:10:05.000Z"
    assert _tombstones(app) == [b"old"]


async def test_a_later_event_opens_a_forgotten_run_anew() -> None:
    """rules.md 17: exactly once per run holds within that memory."""
    app = await _application()
    app.send("completed")
    async with app.working():
        await app.drained()
        app.now_ms += TERMINAL_MS + 2_000
        await eventually(lambda: bool(_tombstones(app)))
        app.send("queued")
        await app.drained()
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:1"]
    assert [entry.value is None for entry in app.output("state")] == [False, True, False]


async def test_a_restart_does_not_repeat_a_tombstone() -> None:
    """rules.md 17: exactly one, however often the clock is asked."""
    app = await _application()
    app.send("completed")
    for _ in range(2):
        async with app.working():
            await app.drained()
            app.now_ms += TERMINAL_MS + 2_000
            await eventually(lambda: bool(_tombstones(app)))
            rounds = app.told.rounds
            await eventually(lambda rounds=rounds: app.told.rounds > rounds + 3)
    assert _tombstones(app) == [b"run_1"]
