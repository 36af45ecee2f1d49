"""A replay on the fake Kafka: what is sent, what is left, and that nothing ever makes it send a letter twice."""

import asyncio
import json
from contextlib import suppress

import pytest

from streamproc.codec.arrival import Rejection
from streamproc.codec.deadletter import RecordPlace, dead_letter, skipped_letter
from streamproc.codec.message import Message
from streamproc.codec.sizes import batch_bytes, headers_bytes, omitted
from streamproc.dlq import planning, replaying
from streamproc.dlq import scanning as reading
from streamproc.dlq.choice import Choice, WrongFilter, places, reasons
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.planning import LetterVerdict, ReplayPlan, ReplayTerms, survey, terms_of
from streamproc.dlq.replaying import LetterReplay
from streamproc.errors import BrokerUnavailable, ConfigError, RejectionReason, TaskFenced, TaskInvalid
from streamproc.interrupts import Interrupted, unless_stopped
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import NewTopic
from tests.support.application import always, once
from tests.support.desk import MAX_RECORD_BYTES, NOW_MS, Desk, knows_all
from tests.support.fake_kafka import Entry, FakeReader


class Crash(BaseException):
    """The process ends at once."""


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "BATCH_LETTERS", 3)


async def test_a_record_goes_back_as_it_came(desk: Desk) -> None:
    """Partition, key, value, headers, timestamp (rules.md 15); and the marks."""
    desk.fail(2, partition=1)
    assert await desk.replayed() == 2
    first, _, again, _ = desk.log("events", 1).stable(0)
    assert (again.key, again.value, again.timestamp) == (first.key, first.value, first.timestamp)
    marks = [("streamproc.replay.attempt", b"1"), ("streamproc.replay.of", b"1:0")]
    assert list(again.headers) == [*first.headers, *marks]
    assert desk.log("events", 0).stable(0) == []


async def test_a_receipt_says_what_was_replayed(desk: Desk) -> None:
    """In the letter's partition, by its place."""
    desk.fail(1, partition=1)
    await desk.replayed()
    (receipt,) = desk.log("receipts", 1).stable(0)
    assert receipt.key == b"1:0"
    assert json.loads(receipt.value or b"") == {
        "source": "run-events:1:0",
        "timestamp": NOW_MS - 1_000,
        "attempt": 1,
        "replayed_at": NOW_MS,
    }


async def test_repeating_a_replay_sends_nothing(desk: Desk) -> None:
    """Nothing, not even a transaction."""
    desk.fail(8)
    assert await desk.replayed() == 8
    ends = [log.end for logs in desk.kafka.logs.values() for log in logs]
    assert await desk.replayed() == 0
    assert [log.end for logs in desk.kafka.logs.values() for log in logs] == ends
    assert (await desk.plan()).counts == {LetterVerdict.REPLAYED: 8}


async def test_a_plan_writes_nothing(desk: Desk) -> None:
    """Not even the topic of receipts."""
    desk.fail(4)
    plan = await desk.plan()
    assert (plan.total, plan.pending, plan.ends) == (4, {0: 4}, {0: 4, 1: 0})
    assert set(desk.kafka.logs) == set(desk.topics.model_dump(exclude={"prefix"}).values())
    assert desk.log("events").end == 4


async def test_filters_one_after_the_other_send_each_letter_once(desk: Desk) -> None:
    """Receipts do not depend on the filter."""
    for reason in ("unknown_schema", "bad_time", "undecodable"):
        desk.fail(4, reason=reason)
        desk.fail(2, partition=1, reason=reason)
    assert await desk.replayed(Choice(reasons(["bad_time"]))) == 6
    assert await desk.replayed(Choice(partitions=frozenset([1]))) == 4
    assert await desk.replayed(Choice(places=places(["0:0", "0:4", "0:11"]))) == 2
    assert await desk.replayed() == 6
    assert set(desk.sent().values()) == {1}
    assert len(desk.sent()) == 18


async def test_letters_that_fail_again_do_not_grow(desk: Desk) -> None:
    """Only the newest letter of a record is replayed, until its attempts are used up."""
    desk.fail(5)
    for _ in range(3):
        assert await desk.replayed() == 5
        desk.fail_again()
    plan = await desk.plan()
    assert plan.counts == {LetterVerdict.REPLAYED: 15, LetterVerdict.EXHAUSTED: 5}
    assert list(plan.left()) == [(LetterVerdict.EXHAUSTED, 5, "0:15, 0:16, 0:17, 0:18, 0:19")]
    assert await desk.replayed() == 0
    assert await desk.replayed(max_attempts=4) == 5
    last = desk.log("events").stable(0)[-1]
    assert [value for name, value in last.headers if name == "streamproc.replay.attempt"] == [b"4"]
    assert [value for name, value in last.headers if name == "streamproc.replay.of"] == [b"0:19"]


async def test_what_is_added_meanwhile_is_the_next_replays(desk: Desk) -> None:
    """Else a record that fails at once would be chased round and round."""
    desk.fail(7)
    replay = await desk.replay(on_replayed=lambda _: desk.fail_again())
    await replay.run()
    assert replay.replayed == 7
    assert (await desk.plan()).total == 7


async def test_what_cannot_be_replayed_is_left_and_named(desk: Desk) -> None:
    """Another source topic, a partition that is not there, no dead letter at all."""
    desk.fail(2)
    desk.fail(7, topic="run-measurements")
    stray: Message = (None, b"secret", NOW_MS, [("streamproc.error.reason", b"x")])
    desk.log("dead_letters").append(stray, "committed")
    desk.reject(desk.log("events").stable(0)[0], partition=1)
    desk.kafka.logs["run-events"].pop()
    plan = await desk.plan()
    assert plan.counts == {
        LetterVerdict.REPLAY: 2,
        LetterVerdict.ELSEWHERE: 7,
        LetterVerdict.FOREIGN: 1,
        LetterVerdict.NOWHERE: 1,
    }
    assert list(plan.left()) == [
        (LetterVerdict.ELSEWHERE, 7, "0:2, 0:3, 0:4, 0:5, 0:6 and 2 more (from run-measurements)"),
        (LetterVerdict.NOWHERE, 1, "1:0"),
        (LetterVerdict.FOREIGN, 1, "0:9"),
    ]
    assert await desk.replayed() == 2


async def test_a_receipt_for_another_record_counts_for_nothing(desk: Desk) -> None:
    """The dead-letter topic was recreated: the places are the same, the records are not."""
    desk.fail(3)
    await desk.replayed()
    receipts = desk.log("receipts").entries
    other = Desk()
    await other.create()
    other.log("events").append((None, b"good", 0, []), "committed")
    other.fail(3)
    await replaying.ensure_topic(other.kafka, "run-events-dlq-replays", 2)
    other.log("receipts").entries = receipts
    assert await other.replayed() == 3


async def test_strangers_in_the_topic_of_receipts_harm_nothing(desk: Desk) -> None:
    """Whatever it is, it is no receipt."""
    desk.fail(2)
    await replaying.ensure_topic(desk.kafka, "run-events-dlq-replays", 2)
    for key, value in (
        (None, b"{}"),
        (b"0:0", b"{"),
        (b"0:0", b"[]"),
        (b"0:x", b"{}"),
        (b"\xff", None),
        (b"0:0", b"1"),
    ):
        desk.log("receipts").append((key, value, 0, []), "committed")
    assert await desk.replayed() == 2


async def test_receipts_of_letters_that_are_gone_are_taken_back(desk: Desk) -> None:
    """Retention removes letters; a compacted topic keeps for ever what nobody takes back."""
    desk.fail(5)
    await desk.replayed()
    desk.fail(1)
    letters = desk.log("dead_letters")
    letters.first = 4
    del letters.entries[:4]
    assert await desk.replayed() == 1
    latest = {record.key: record.value for record in desk.log("receipts").stable(0)}
    assert {key for key, value in latest.items() if value is not None} == {b"0:4", b"0:5"}


@pytest.mark.parametrize(
    ("config", "oldest_ms"),
    [
        ({}, None),
        ({"retention.ms": "-1"}, None),
        ({"retention.ms": "604800000"}, NOW_MS - 604_800_000 + 3_600_000),
        ({"retention.ms": "1000"}, NOW_MS - 900),
        ({"retention.ms": "1000", "message.timestamp.type": "CreateTime"}, NOW_MS - 900),
        ({"retention.ms": "1000", "message.timestamp.type": "LogAppendTime"}, None),
    ],
)
def test_retention_goes_by_the_timestamp_that_a_replay_keeps(config, oldest_ms) -> None:
    """On the safe side by a tenth, an hour at most."""
    assert planning.oldest_kept(config, NOW_MS) == oldest_ms


@pytest.mark.parametrize(("over", "verdict"), [(0, LetterVerdict.REPLAY), (1, LetterVerdict.TOO_LARGE)])
@pytest.mark.parametrize("limit", ["service", "topic"])
async def test_what_is_too_large_once_marked_is_left(desk: Desk, limit: str, over: int, verdict: LetterVerdict) -> None:
    """Up to the last byte: of what the service reads (rules.md 10), and of what the topic takes."""
    headers = [("streamproc.replay.attempt", b"1"), ("streamproc.replay.of", b"0:0")]
    value = bytes(MAX_RECORD_BYTES - headers_bytes(headers) + (over if limit == "service" else 0))
    if limit == "topic":
        admitted = batch_bytes(None, value, headers) - over
        desk.kafka.configs["run-events"] = {"max.message.bytes": str(admitted)}
    desk.reject(desk.log("events").append((None, value, NOW_MS, []), "committed"), 0)
    plan = await desk.plan()
    assert plan.counts == {verdict: 1}
    assert await desk.replayed() == 1 - over
    if over:
        assert [(each, count) for each, count, _ in plan.left()] == [(LetterVerdict.TOO_LARGE, 1)]


async def test_a_topic_that_takes_small_batches_gets_small_transactions(desk: Desk, monkeypatch) -> None:
    """What is sent to it in one go must fit one batch of its own."""
    monkeypatch.setattr(replaying, "BATCH_LETTERS", 500)
    desk.fail(6)
    headers = [("number", b"0"), ("streamproc.replay.attempt", b"1"), ("streamproc.replay.of", b"0:0")]
    desk.kafka.configs["run-events"] = {"max.message.bytes": str(3 * batch_bytes(b"key", b"value 0", headers))}
    sent: list[int] = []
    await (await desk.replay(on_replayed=sent.append)).run()
    assert [count for count in sent if count] == [3, 3]


@pytest.mark.parametrize(
    ("config", "first_ms", "last_ms"),
    [
        ({}, 0, None),
        (
            {"message.timestamp.before.max.ms": str(2**63 - 1), "message.timestamp.after.max.ms": str(2**63 - 1)},
            0,
            2**62,
        ),
        ({"message.timestamp.before.max.ms": "3600000"}, NOW_MS - 3_540_000, None),
        ({"message.timestamp.after.max.ms": "3600000"}, 0, NOW_MS + 3_540_000),
        ({"message.timestamp.after.max.ms": "1000"}, 0, NOW_MS),
        ({"message.timestamp.after.max.ms": "1000", "message.timestamp.type": "LogAppendTime"}, 0, None),
    ],
)
def test_a_topic_says_which_timestamps_it_takes(config, first_ms, last_ms) -> None:
    """A minute on the safe side: clocks differ."""
    bounds = planning.bounds_of(config, 1_000, NOW_MS)
    assert bounds.first_ms == first_ms
    assert bounds.last_ms == last_ms or (bounds.last_ms or 0) > (last_ms or 0) == 2**62


async def test_a_timestamp_that_the_topic_refuses_blocks_no_other_letter(desk: Desk) -> None:
    """Before its time and after it. No time at all (-1) is refused by no topic."""
    desk.kafka.configs["run-events"] = {
        "message.timestamp.before.max.ms": "3600000",
        "message.timestamp.after.max.ms": "3600000",
    }
    for away_ms in (-7_200_000, 7_200_000, 0, -1 - NOW_MS):
        desk.reject(desk.log("events").append((None, b"x", NOW_MS + away_ms, []), "committed"), 0)
    assert (await desk.plan()).counts == {LetterVerdict.REFUSED: 2, LetterVerdict.REPLAY: 2}
    assert await desk.replayed() == 2


LARGE = bytes(range(250)) * 400
OWN = [("a", b"1"), ("a", None)]


def _large(desk: Desk, at_ms: int = NOW_MS - 1_000) -> Entry:
    """Have a record arrive whose letter is cut: value, key and headers."""
    record = desk.log("events").append((b"k" * 90_000, LARGE, at_ms, [("pad", bytes(90_000)), *OWN]), "committed")
    rejection = Rejection(record, RejectionReason.TOO_LARGE, "it is large")
    letter = dead_letter(rejection, desk.topics.events, 0, NOW_MS, admitted_bytes=150_000)
    desk.log("dead_letters").append(letter, "committed")
    return record


async def _plan_with(desk: Desk, record_bytes: int) -> tuple[ReplayTerms, ReplayPlan]:
    terms = await terms_of(desk.kafka, desk.topics, Choice(), ReplayLimits(3, record_bytes, knows_all), NOW_MS)
    return terms, await survey(desk.kafka, terms)


async def test_a_cut_letter_sends_the_original_from_the_input(desk: Desk) -> None:
    """Key, value and headers as they came, and the marks; its size is judged, not the letter's."""
    record = _large(desk)
    assert (await _plan_with(desk, 200_000))[1].counts == {LetterVerdict.TOO_LARGE: 1}
    terms, plan = await _plan_with(desk, 1_000_000)
    assert (plan.counts, plan.total) == ({LetterVerdict.REPLAY: 1}, 1)
    replay = LetterReplay(desk.kafka, terms, plan, lambda: NOW_MS / 1000, lambda _: None)
    await replay.run()
    again = desk.log("events").stable(0)[-1]
    assert (again.key, again.value, again.timestamp) == (record.key, record.value, record.timestamp)
    assert list(again.headers)[:3] == [("pad", bytes(90_000)), *OWN]
    assert (await _plan_with(desk, 1_000_000))[1].counts == {LetterVerdict.REPLAYED: 1}


async def test_originals_of_one_partition_are_read_by_one_reader(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection for each letter takes longer than all the rest."""
    records = [_large(desk) for _ in range(5)]
    opened: list[FakeReader] = []
    make = desk.kafka.reader

    async def reader(topic: str, partition: int) -> FakeReader:
        found = await make(topic, partition)
        if topic == desk.topics.events:
            opened.append(found)
        return found

    monkeypatch.setattr(desk.kafka, "reader", reader)
    terms, plan = await _plan_with(desk, 1_000_000)
    assert (plan.counts, len(opened)) == ({LetterVerdict.REPLAY: 5}, 1)
    await LetterReplay(desk.kafka, terms, plan, lambda: NOW_MS / 1000, lambda _: None).run()
    assert len(opened) == 2
    assert [each.value for each in desk.log("events").stable(0)[5:]] == [record.value for record in records]


async def _removed(desk: Desk, record: Entry) -> None:
    desk.log("events").entries.remove(record)
    desk.log("events").first = record.offset + 1


async def _other_content(desk: Desk, record: Entry) -> None:
    record.value = LARGE[:-1] + b"\x00"


async def _compacted(desk: Desk, record: Entry) -> None:
    record.status = "aborted"


async def _unreadable(desk: Desk, record: Entry) -> None:
    record.status, record.damaged = "damaged", (record.offset, record.offset)


@pytest.mark.parametrize("lose", [_removed, _other_content, _compacted, _unreadable])
async def test_a_cut_letter_whose_original_is_gone_is_left_and_says_so(desk: Desk, lose) -> None:
    """Retention, a recreated topic: half a record is never sent."""
    record = _large(desk)
    desk.fail(2)
    await lose(desk, record)
    _, plan = await _plan_with(desk, 1_000_000)
    assert plan.counts == {LetterVerdict.LOST: 1, LetterVerdict.REPLAY: 2}
    assert await desk.replayed() == 2
    assert "cut" in LetterVerdict.LOST.value


async def test_an_original_that_goes_between_plan_and_replay_is_not_sent(desk: Desk) -> None:
    """Nor does it block the others."""
    record = _large(desk)
    desk.fail(2)
    terms, plan = await _plan_with(desk, 1_000_000)
    await _other_content(desk, record)
    replay = LetterReplay(desk.kafka, terms, plan, lambda: NOW_MS / 1000, lambda _: None)
    await replay.run()
    assert (replay.replayed, plan.total) == (2, 3)


@pytest.mark.parametrize("own", [omitted(16_000_000), [("", b"")] * 9_999], ids=["too many", "too many once marked"])
async def test_a_record_with_more_headers_than_are_taken_is_left(desk: Desk, own) -> None:
    """Without them it would be another record, and with them come back."""
    record = desk.log("events").append((b"k", b"v", NOW_MS - 1_000, own), "committed")
    letter = dead_letter(Rejection(record, RejectionReason.TOO_LARGE, "many"), desk.topics.events, 0, NOW_MS)
    desk.log("dead_letters").append(letter, "committed")
    assert (await _plan_with(desk, 1_000_000))[1].counts == {LetterVerdict.HEADERS: 1}


async def test_what_was_passed_over_is_left(desk: Desk) -> None:
    """There is no record in it."""
    desk.fail(1)
    desk.log("dead_letters").append(skipped_letter(RecordPlace("run-events", 0, 5, -1), 8, "why", NOW_MS), "committed")
    assert (await desk.plan()).counts == {LetterVerdict.REPLAY: 1, LetterVerdict.SKIPPED: 1}
    assert await desk.replayed() == 1


async def test_a_number_that_no_record_can_have_makes_a_stranger_of_a_letter(desk: Desk) -> None:
    """Kafka's times and offsets are of 64 bits; a forged one ended the replay."""
    desk.fail(2)
    record = desk.log("events").append((None, b"x", 9_999_999_999_999_999_999, []), "committed")
    desk.reject(record, 0)
    headers = [("streamproc.source.timestamp", b"9999999999999999999")]
    desk.log("dead_letters").entries[-1].headers = (*desk.log("dead_letters").entries[-1].headers, *headers)
    assert (await desk.plan()).counts == {LetterVerdict.REPLAY: 2, LetterVerdict.FOREIGN: 1}
    assert await desk.replayed() == 2


async def test_a_letter_that_kafka_refuses_for_good_is_named(desk: Desk) -> None:
    """It is sorted out of its transaction; those before it are sent, none twice."""
    desk.fail(7)

    def refuse(point: str) -> None:
        if point == "send" and any(e.value == b"value 4" and e.status == "open" for e in desk.log("events").entries):
            raise ConfigError("the topic does not admit it")

    desk.kafka.fault = refuse
    replay = await desk.replay()
    with pytest.raises(ConfigError, match=r"the letter 0:4 of run-events-dlq cannot be replayed: the topic does not"):
        await replay.run()
    assert (replay.replayed, replay.in_doubt) == (4, 0)
    assert await desk.replayed(Choice(places=places(["0:5", "0:6"]))) == 2
    desk.kafka.fault = lambda _: None
    assert await desk.replayed() == 1
    assert set(desk.sent().values()) == {1}


async def test_a_refusal_that_is_not_of_a_letter_ends_the_replay(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, and at once."""
    monkeypatch.setattr("streamproc.dlq.replaying.FIRST_WAIT_S", 3_600)
    desk.fail(3)
    replay = await desk.replay()
    desk.kafka.fault = always("fence", lambda: ConfigError("no permission"))
    with pytest.raises(ConfigError, match=r"^no permission$"):
        await asyncio.wait_for(replay.run(), 60)


async def test_letters_that_retention_removes_while_they_are_read_are_passed_over(desk: Desk) -> None:
    """The command goes on with what is there."""
    desk.fail(5)
    log = desk.log("dead_letters")

    def remove(point: str) -> None:
        if point == "fetch" and not log.first:
            log.first = 3
            del log.entries[:3]

    desk.kafka.fault = remove
    assert (await desk.plan()).total == 2


async def test_a_failure_ends_the_reading_of_all_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """None goes on reading from a Kafka that is being closed."""
    desk = Desk(partitions=6)
    await desk.create()
    reading_now, error = set(), BrokerUnavailable("away")

    async def letters(kafka, topic, *_):
        reading_now.add(topic.partition)
        try:
            await asyncio.sleep(0 if topic.partition == 3 else 3_600)
            raise error
            yield []
        finally:
            reading_now.remove(topic.partition)

    monkeypatch.setattr(reading, "letters", letters)
    with pytest.raises(BrokerUnavailable) as caught:
        await desk.plan()
    assert caught.value is error
    assert not reading_now


async def test_what_would_be_deleted_unread_is_left(desk: Desk) -> None:
    """Kafka may delete a record that is older than the retention right after it was sent: the letter would be lost."""
    desk.kafka.configs["run-events"] = {"retention.ms": "10000"}
    for age_ms in (9_001, 8_999):
        record = desk.log("events").append((None, b"x", NOW_MS - age_ms, []), "committed")
        desk.reject(record, 0)
    assert (await desk.plan()).counts == {LetterVerdict.EXPIRED: 1, LetterVerdict.REPLAY: 1}
    assert await desk.replayed() == 1
    desk.kafka.configs["run-events"] = {"retention.ms": "60000"}
    assert await desk.replayed() == 1


async def test_a_missing_topic_is_an_error_with_its_remedy(desk: Desk) -> None:
    """Each of the two."""
    for role in ("dead_letters", "events"):
        other = Desk()
        await other.create()
        topic = getattr(other.topics, role)
        del other.kafka.logs[topic]
        with pytest.raises(ConfigError, match=f"^{topic} does not exist: run `streamproc topics create`"):
            await other.plan()
    with pytest.raises(WrongFilter, match="no partition 2"):
        await desk.plan(Choice(partitions=frozenset([2])))


@pytest.mark.parametrize(
    ("partitions", "policy", "words"), [(1, "compact", "has 1 partitions"), (2, "compact,delete", "must be compact")]
)
async def test_a_topic_of_receipts_that_does_not_fit_is_an_error(desk, partitions, policy, words) -> None:
    """Nothing is sent."""
    desk.fail(1)
    await desk.kafka.create([NewTopic("run-events-dlq-replays", partitions, {"cleanup.policy": policy})])
    with pytest.raises(ConfigError, match=words):
        await desk.replayed()
    assert desk.sent() == {}


async def test_the_receipts_get_no_topic_that_is_something_else(desk: Desk) -> None:
    """A name that another setting has."""
    desk.topics = TopicSettings(state="run-events-dlq-replays")
    with pytest.raises(ConfigError, match="another topic"):
        await desk.plan()


POINTS = ("fence", "committed", "bounds", "reader", "fetch", "send", "before the end", "after the end")


@pytest.mark.parametrize("error", [TaskInvalid("lost"), BrokerUnavailable("away")], ids=["invalid", "unavailable"])
@pytest.mark.parametrize("point", POINTS)
async def test_after_any_failure_it_goes_on_by_itself(desk: Desk, point: str, error: Exception) -> None:
    """At every passing of the point; unknown outcomes are found out, and counted right."""
    desk.fail(7)
    desk.fail(4, partition=1)
    for passing in range(1_000):
        it = await _copy_of(desk)
        replay = await it.replay()
        it.kafka.fault = fault = Nth(point, passing, error)
        await replay.run()
        assert (replay.replayed, replay.in_doubt) == (11, 0)
        assert len(it.sent()) == 11
        assert set(it.sent().values()) == {1}
        if not fault.happened:
            assert passing
            return
    pytest.fail("the point is passed without end")


@pytest.mark.parametrize("point", POINTS)
async def test_after_a_crash_anywhere_the_same_command_goes_on(desk: Desk, point: str) -> None:
    """Whatever was open is aborted by the next one's fence."""
    desk.fail(7)
    desk.fail(4, partition=1)
    for passing in range(1_000):
        it = await _copy_of(desk)
        replay = await it.replay()
        it.kafka.fault = fault = Nth(point, passing, Crash())
        with_crash = asyncio.ensure_future(_until_crash(replay))
        await with_crash
        it.kafka.fault = Nth("", 0, Crash())
        await it.replayed()
        assert len(it.sent()) == 11
        assert set(it.sent().values()) == {1}
        if not fault.happened:
            return


@pytest.mark.parametrize("point", POINTS)
async def test_an_interruption_anywhere_leaves_nothing_in_doubt(desk: Desk, point: str) -> None:
    """The transaction in hand comes to its end; what was replayed is known, the rest is the next command's."""
    desk.fail(7)
    desk.fail(4, partition=1)
    for passing in range(1_000):
        it = await _copy_of(desk)
        replay, stop = await it.replay(), asyncio.Event()
        it.kafka.fault = fault = Nth(point, passing, stop.set)
        try:
            await unless_stopped(stop, replay.run(), "all was replayed")
        except Interrupted:
            pass
        else:
            assert replay.replayed == 11
        it.kafka.fault = Nth("", 0, stop.set)
        assert replay.in_doubt == 0
        assert sum(it.sent().values()) == replay.replayed
        assert all(not entries for entries in it.kafka.open.values()), "no transaction is left open"
        assert replay.replayed + await it.replayed() == 11
        assert set(it.sent().values()) == {1}
        if not fault.happened:
            return


async def test_an_unknown_outcome_at_an_interruption_is_said(desk: Desk) -> None:
    """And the next replay finds out."""
    desk.fail(3)
    replay, stop = await desk.replay(), asyncio.Event()

    def fault(point: str) -> None:
        if point == "after the end" and desk.log("events").end > 3:
            stop.set()
            raise TaskInvalid("lost")

    desk.kafka.fault = fault
    with pytest.raises(Interrupted):
        await unless_stopped(stop, replay.run(), "all was replayed")
    assert (replay.replayed, replay.in_doubt) == (0, 3)
    desk.kafka.fault = once("", TaskInvalid(""))
    assert await desk.replayed() == 0
    assert len(desk.sent()) == 3


async def test_a_failure_that_stays_ends_the_replay(desk: Desk) -> None:
    """With what failed."""
    desk.fail(3)
    replay = await desk.replay()
    desk.kafka.fault = always("send", lambda: TaskInvalid("the reason"))
    with pytest.raises(BrokerUnavailable, match=r"6 failures in a row.*the reason"):
        await replay.run()
    assert replay.replayed == 0


async def test_failures_with_progress_in_between_do_not_end_it(desk: Desk) -> None:
    """Only those in a row count."""
    desk.fail(60)
    replay = await desk.replay()
    passed = 0

    def fault(point: str) -> None:
        nonlocal passed
        if point == "before the end":
            passed += 1
            if passed % 3 == 0:
                raise TaskInvalid("now and then")

    desk.kafka.fault = fault
    await replay.run()
    assert replay.replayed == 60
    assert set(desk.sent().values()) == {1}


async def test_a_later_replay_fences_the_earlier_one(desk: Desk) -> None:
    """Which ends, and says why; between them every letter goes once."""
    desk.fail(12)
    earlier, later = await desk.replay(), await desk.replay()
    done = asyncio.Event()
    earlier._on_replayed = lambda _: done.set()
    first = asyncio.ensure_future(earlier.run())
    await done.wait()
    await later.run()
    with pytest.raises(TaskFenced, match=r"another .*dlq replay.*has taken over run-events-dlq partition 0"):
        await first
    assert 0 < earlier.replayed < 12
    assert earlier.replayed + later.replayed == 12
    assert len(desk.sent()) == 12
    assert set(desk.sent().values()) == {1}


@pytest.mark.parametrize("seed", range(10))
async def test_many_replays_at_once_send_each_letter_once(desk: Desk, seed: int) -> None:
    """Whoever comes last to a partition goes on; nobody hangs."""
    desk.fail(12)
    desk.fail(9, partition=1)
    replays = [await desk.replay() for _ in range(4)]

    async def later(number: int) -> None:
        for _ in range(number * seed):
            await asyncio.sleep(0)
        await replays[number].run()

    results = await asyncio.wait_for(asyncio.gather(*map(later, range(4)), return_exceptions=True), 90)
    assert all(result is None or isinstance(result, TaskFenced | BrokerUnavailable) for result in results), results
    await desk.replayed()
    assert len(desk.sent()) == 21
    assert set(desk.sent().values()) == {1}


async def test_a_batch_is_bounded_in_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that is larger than the bound goes alone."""
    marks = [("streamproc.replay.attempt", b"1"), ("streamproc.replay.of", b"0:0")]
    monkeypatch.setattr(replaying, "BATCH_BYTES", 2 * batch_bytes(None, b"x" * 10, marks))
    for size in (10, 10, 100, 10):
        record = desk.log("events").append((None, b"x" * size, NOW_MS, []), "committed")
        desk.reject(record, 0)
    sent: list[int] = []
    await (await desk.replay(on_replayed=sent.append)).run()
    assert [count for count in sent if count] == [2, 1, 1]


async def test_many_partitions_are_read_side_by_side_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are read at once."""
    monkeypatch.setattr(reading, "AT_ONCE", 3)
    monkeypatch.setattr(planning, "NAMED", 2)
    desk = Desk(partitions=10)
    await desk.create()
    for partition in reversed(range(10)):
        desk.fail(2, partition, topic="elsewhere")
    assert list((await desk.plan()).left()) == [(LetterVerdict.ELSEWHERE, 20, "0:0, 0:1 and 18 more (from elsewhere)")]


class Nth:
    """A fault: does something at one passing of a point: raises an error, or calls what it is given."""

    def __init__(self, point: str, passing: int, deed: object) -> None:
        self._point = point
        self._left = passing
        self._deed = deed
        self.happened = False

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left == -1:
            self.happened = True
            if isinstance(self._deed, BaseException):
                raise self._deed
            assert callable(self._deed)
            self._deed()


async def _copy_of(desk: Desk) -> Desk:
    """Return another desk with the same letters, so that each schedule starts from the same."""
    copy = Desk()
    await copy.create()
    for role in ("events", "dead_letters"):
        for partition in range(copy.partitions):
            for entry in desk.log(role, partition).entries:
                message = (entry.key, entry.value, entry.timestamp, list(entry.headers))
                copy.log(role, partition).append(message, "committed")
    return copy


async def _until_crash(replay: replaying.LetterReplay) -> None:
    with suppress(Crash):
        await replay.run()
