"""What a commit is made of, and when it counts."""

import pytest

from streamproc.codec.sizes import omitted
from streamproc.errors import BrokerUnavailable, TaskInvalid
from streamproc.runtime import stage
from streamproc.runtime.config import CommitSettings, DeadLetterSettings, TopicSettings
from streamproc.runtime.observer import Pause
from tests.support.application import MAX_RECORD_BYTES, application, once
from tests.support.runobjects import START_MS
from tests.support.waiting import eventually

METADATA = {"format", "profile", "sequence", "live_keys", "stream_time", "partitions"}


async def test_every_commit_says_what_state_belongs_to_its_offset() -> None:
    """rules.md 5: format, profile, sequence, live keys, stream time, partition count."""
    app = await application(partitions=2)
    async with app.working():
        app.send("queued", "run_1")
        app.send("queued", "run_2")
        await app.drained()
        found = app.metadata()
        assert {**found, "sequence": 0} == {
            "format": 1,
            "profile": "assistants",
            "sequence": 0,
            "live_keys": 2,
            "stream_time": START_MS,
            "partitions": 2,
        }
        app.send("completed", "run_1", at_ms=START_MS + 500)
        await app.drained()
    later = app.metadata()
    assert later.keys() == METADATA
    assert (later["sequence"], later["live_keys"]) == (found["sequence"] + 1, 2)
    assert later["stream_time"] == START_MS + 500
    assert app.kafka.offsets[app.source()].offset == 3


async def test_a_commit_without_outputs_says_so_too() -> None:
    """rules.md 5: a batch of duplicates moves offset and sequence."""
    app = await application()
    async with app.working():
        for sequence in (1, 2):
            app.send("queued")
            await app.drained()
            assert app.metadata()["sequence"] == sequence
    assert len(app.output("transitions")) == 1


async def test_one_commit_writes_only_the_last_state_of_each_run() -> None:
    """But every transition."""
    app = await application()
    for status in ("queued", "in_progress", "completed"):
        app.send(status, "run_1")
    app.send("queued", "run_2")
    async with app.working():
        await app.drained()
    assert [report.records for report in app.told.reports] == [4]
    assert [entry.key for entry in app.output("state")] == [b"run_1", b"run_2"]
    assert app.ids("state") == ["run-events:0:2", "run-events:0:3"]
    assert app.ids("transitions") == [f"run-events:0:{offset}" for offset in range(4)]


async def test_what_changed_no_status_is_told_in_the_same_commit() -> None:
    """rules.md 2: each event is in run-transitions or in run-verdicts; nothing is where the topic is not used."""
    app = await application()
    for topics in (app.topics, app.topics.model_copy(update={"verdicts": None})):
        app.topics = topics
        for status in ("queued", "queued", "completed", "in_progress", "failed"):
            app.send(status)
        async with app.working():
            await app.drained()
    app.topics = TopicSettings()
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:2"]
    assert app.ids("verdicts") == ["run-events:0:1", "run-events:0:3", "run-events:0:4"]


async def test_commits_are_cut_at_max_records() -> None:
    """commit.max_records limits what one transaction holds."""
    app = await application(max_records=3)
    for number in range(8):
        app.send("queued", f"run_{number}")
    async with app.working():
        await app.drained()
    assert [report.records for report in app.told.reports] == [3, 3, 2]
    assert CommitSettings().max_records == 10_000


async def test_an_aborted_commit_leaves_the_state_as_it_was() -> None:
    """rules.md 9: no restore while offset and sequence match, and the records are processed once."""
    app = await application()
    app.send("queued")
    async with app.working():
        await app.summed()  # Or the windows' commit of the first record would be the one that fails.
        app.kafka.fault = once("send", TaskInvalid("the broker refused"))
        app.send("in_progress")
        await app.drained()
    assert app.told.failures == ["TaskInvalid"]
    assert app.kafka.restored == [0]
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:1"]
    assert app.metadata()["sequence"] == 2


@pytest.mark.parametrize(("point", "happened"), [("before the end", False), ("after the end", True)])
async def test_an_unknown_outcome_is_settled_by_reading_the_commit_again(point: str, happened: bool) -> None:
    """rules.md 7: whether or not it happened nothing is lost or doubled, and the state in memory is kept."""
    app = await application()
    app.send("queued")
    async with app.working():
        await app.summed()  # See above.
        app.kafka.fault = once(point, TaskInvalid("no answer"))
        app.send("in_progress")
        await eventually(lambda: bool(app.told.failures))
        await app.drained()
        app.send("completed")
        await app.drained()
    assert app.kafka.restored == [0]
    assert app.ids("transitions") == [f"run-events:0:{offset}" for offset in range(3)]
    assert app.metadata()["sequence"] == 3
    # rules.md 24: what was not confirmed is never counted, also where it turns out to have happened.
    assert app.told.records == (2 if happened else 3)


async def test_an_unknown_outcome_is_read_after_fencing() -> None:
    """rules.md 7: an offset read before fencing proves nothing."""
    app = await application()
    points: list[str] = []
    app.kafka.fault = points.append
    app.send("queued")
    async with app.working():
        await app.drained()
    order = [point for point in points if point in ("heartbeat", "fence", "stable", "high_watermark", "fetch")]
    assert order[:5] == ["heartbeat", "fence", "fence", "stable", "high_watermark"]


async def test_the_observer_is_told_only_of_confirmed_commits() -> None:
    """rules.md 24."""
    app = await application()
    seen: list[int] = []
    app.kafka.fault = lambda point: seen.append(app.told.records) if point == "before the end" else None
    app.send("queued")
    async with app.working():
        await app.drained()
        await eventually(lambda: app.told.records == 1)
    assert seen[0] == 0


async def test_a_stop_lets_the_commit_in_hand_come_to_its_end() -> None:
    """What was sent is not to be done again."""
    app = await application()

    stopped: list[str] = []

    def stop_in_mid_commit(point: str) -> None:
        if point == "send":
            stopped.append(point)
            worker.stop()

    app.kafka.fault = stop_in_mid_commit
    app.send("queued")
    async with app.working() as worker:
        await eventually(lambda: bool(stopped))
    assert app.told.failures == []
    assert app.is_drained()


@pytest.mark.parametrize("failing", ["fence", "stable", "bounds", "reader", "fetch"])
async def test_a_broker_that_refuses_for_now_is_tried_again(failing: str) -> None:
    """errors.py: BrokerUnavailable and TaskInvalid rebuild the task, they end nothing."""
    app = await application()
    app.kafka.fault = once(failing, TaskInvalid("no") if failing == "fence" else BrokerUnavailable("no"))
    app.send("queued")
    async with app.working():
        await app.drained()
    assert app.ids("transitions") == ["run-events:0:0"]
    assert len(app.told.failures) == 1


@pytest.mark.parametrize(
    "record",
    [
        {"value": b"x" * (MAX_RECORD_BYTES + 1), "key": None},
        {"value": b"x" * MAX_RECORD_BYTES, "key": b"k"},
        {"value": b"x" * MAX_RECORD_BYTES, "key": None, "headers": [("h", b"")]},
        {"value": None, "key": None, "headers": [("h", b"x" * MAX_RECORD_BYTES)]},
    ],
    ids=["value", "key", "header name", "header value"],
)
async def test_an_oversized_record_is_a_dead_letter_and_what_lies_around_it_goes_on(record: dict) -> None:
    """rules.md 10: key, value and headers together. Whoever can write one must not be able to stop the service."""
    app = await application()
    app.send("queued")
    app.send_bytes(**record)
    app.send_bytes(b"rubbish")
    app.send("completed")
    async with app.working():
        await app.drained()
    large, rubbish = app.output("dead_letters")
    headers = dict(large.headers)
    assert headers["streamproc.error.reason"] == b"too_large"
    assert b"kafka.max_record_bytes (10,000)" in headers["streamproc.error.message"]
    assert (large.key, large.value) == (record["key"], record["value"])
    assert headers["streamproc.size"] == str(len(record["value"] or b"")).encode()
    assert dict(rubbish.headers)["streamproc.source.offset"] == b"2"
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:3"]
    assert [report.rejected["too_large"] for report in app.told.reports] == [1]


async def test_a_record_with_too_many_headers_is_a_dead_letter_without_them() -> None:
    """rules.md 10: ten thousand are taken. What lies around it goes on."""
    app = await application()
    app.send_bytes(b"rubbish", headers=[("", b"")] * 9_990)
    app.send_bytes(b"x", key=b"k", headers=[("", b"")] * 10_001)
    app.send_bytes(b"x", headers=omitted(16_000_000))
    app.send("completed")
    async with app.working():
        await app.drained()
    rubbish, *many = app.output("dead_letters")
    assert len(rubbish.headers) == 9_996
    for letter, count in zip(many, (b"10,001", b"16,000,000"), strict=True):
        headers = dict(letter.headers)
        assert headers["streamproc.error.reason"] == b"too_large"
        assert b"the record has %b headers, more than the 10,000" % count in headers["streamproc.error.message"]
        assert headers["streamproc.cut"] == b"value, key, headers"
        assert (letter.value, len(letter.headers)) == (b"x", 9)
    assert app.ids("transitions") == ["run-events:0:3"]


async def test_headers_count_for_what_a_commit_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they lie in memory."""
    monkeypatch.setattr(stage, "MAX_BYTES_PER_COMMIT", 25_000)
    app = await application(max_records=10_000)
    for _ in range(400):
        app.send_bytes(b"x", headers=[("", b"")] * 100)
    async with app.working():
        await app.drained()
    assert len(app.told.reports) > 1


async def test_oversized_records_count_for_the_limits_of_rejections() -> None:
    """As any other cause: the next one waits, with what is behind it."""
    app = await application()
    app.dead_letters = DeadLetterSettings(max_per_minute_of={"too_large": 2})
    for _ in range(3):
        app.send_bytes(bytes(MAX_RECORD_BYTES + 1))
    app.send("queued")
    async with app.working():
        await eventually(lambda: app.source() in app.told.pauses)
        assert app.told.pauses[app.source()][0] is Pause.RATE
        assert len(app.output("dead_letters")) == 2
        app.now_ms += 120_000
        await app.drained()
    assert len(app.output("dead_letters")) == 3


async def test_an_oversized_record_among_the_measurements_is_a_dead_letter_too() -> None:
    """Anybody may write into run-measurements."""
    app = await application()
    place = app.measured()
    app.kafka.logs[place.topic][0].append((None, bytes(MAX_RECORD_BYTES + 1), app.now_ms, []), "committed")
    app.send("queued")
    async with app.working():
        await app.summed()
    (letter,) = app.output("dead_letters")
    assert dict(letter.headers)["streamproc.error.reason"] == b"too_large"
    assert dict(letter.headers)["streamproc.source.topic"] == place.topic.encode()


async def test_rejected_measurements_count_for_the_limits_too() -> None:
    """What lies before the one that waits is summed, and it is read again later."""
    app = await application()
    app.dead_letters = DeadLetterSettings(max_per_minute=2)
    log = app.kafka.logs[app.topics.measurements][0]
    for _ in range(3):
        log.append((None, b"foreign", app.now_ms, []), "committed")
    async with app.working():
        await eventually(lambda: app.measured() in app.told.pauses)
        assert len(app.output("dead_letters")) == 2
        app.now_ms += 120_000
        await eventually(lambda: len(app.output("dead_letters")) == 3)


async def test_what_the_dead_letter_topic_does_not_admit_is_cut() -> None:
    """Its limit is asked for at the start."""
    app = await application()
    config = dict(app.kafka.configs[app.topics.dead_letters])
    app.kafka.configs[app.topics.dead_letters] = {**config, "max.message.bytes": "1000000"}
    app.send_bytes(bytes(1_000_000))
    async with app.working():
        await app.drained()
    (letter,) = app.output("dead_letters")
    assert letter.value == bytes(65_536)
    assert dict(letter.headers)["streamproc.size"] == b"1000000"


async def test_a_commit_takes_no_more_than_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes may unfold into megabytes each, and their dead letters hold all of that."""
    monkeypatch.setattr(stage, "MAX_BYTES_PER_COMMIT", 25_000)
    app = await application(max_records=10_000)
    for _ in range(400):
        app.send_bytes(bytes(1_000))
    async with app.working():
        await app.drained()
    assert len(app.told.reports) > 1


async def test_a_record_of_the_admitted_size_passes() -> None:
    """rules.md 10: the limit itself is admitted."""
    app = await application()
    app.send_bytes(b"\x01" * (MAX_RECORD_BYTES - 2), key=b"k", headers=[("h", b"")])
    async with app.working():
        await app.drained()
    assert len(app.output("dead_letters")) == 1
