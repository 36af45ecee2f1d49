"""Dead letters from end to end on a real Kafka: the service puts them there, `streamproc dlq` sends them back.

Whatever is interrupted, killed or done at the same time, each goes once.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streamproc.codec import deadletter
from streamproc.codec.arrival import Arrival
from streamproc.codec.deadletter import dead_letter
from streamproc.codec.decode import Rejection
from streamproc.codec.message import Message
from streamproc.codec.sizes import headers_bytes
from streamproc.dlq.choice import Choice
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.planning import survey, terms_of
from streamproc.dlq.replaying import LetterReplay
from streamproc.errors import ConfigError, RejectionReason
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.ports import Committed, TopicPartition
from tests.support.desk import knows_all
from tests.support.runobjects import Arrived
from tests.support.service import Fleet
from tests.support.waiting import DEADLINE_S, eventually

UNKNOWN = b"\xc3\x01unknown!"
SECRET = b"a secret of the payload"
MANY = 20_000
STEP_S = 0.03


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streamproc", "dlq", *arguments]


async def _dlq(service: Fleet, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    result = await asyncio.to_thread(
        subprocess.run,
        _command(*arguments),
        env=service.environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


class Replaying:
    """`dlq replay` as a process that can be disturbed."""

    def __init__(self, service: Fleet, output: Path) -> None:
        self._service, self._output = service, output
        with output.open("wb") as stream:
            self._process = subprocess.Popen(
                _command("replay"), env=service.environment(), stdout=stream, stderr=stream
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; it is heard of when the process goes on."""
        self._process.send_signal(number)

    async def stop_after(self, letters: int) -> None:
        """Let it go on, step by step, until it has sent so many more; it stands still then, somewhere in the middle."""
        wanted = await _sent(self._service) + letters

        async def enough() -> bool:
            self.go_on()
            await asyncio.sleep(STEP_S)
            self.signal(signal.SIGSTOP)
            return await _sent(self._service) >= wanted

        await eventually(enough)

    def go_on(self) -> None:
        """After a stop."""
        self.signal(signal.SIGCONT)

    async def end(self) -> tuple[int, str]:
        """Wait for its end; return the exit code and what it said."""
        code = await asyncio.to_thread(self._process.wait, DEADLINE_S)
        return code, self._output.read_text()


def _attempts(record: Arrival) -> list[bytes]:
    return [value for name, value in record.headers if name == "streamproc.replay.attempt"]


async def test_what_failed_is_shown_sent_back_and_fails_again(service: Fleet, tmp_path: Path) -> None:
    """list, show, a dry run, a replay, another one that has nothing to do; then the service sees the records again."""
    at_ms = int(time.time() * 1000) - 3_600_000
    sent = [
        (b"run\x1b[2J", UNKNOWN + SECRET, at_ms + number, [("trace", b"\xff\x00"), ("trace", b"\x1b[31m")])
        for number in range(3)
    ]
    worker = service.start()
    await service.send_records(*sent)
    await eventually(service.is_done)
    assert worker.stop() == 0

    listed = await _dlq(service, "list", "--reason", "unknown_schema", "--since", "50m")
    rows = [line.split() for line in listed.stdout.splitlines() if line.strip().startswith("0:")]
    topic = service.topics.events
    schema = f"crc64:{UNKNOWN[2:].hex()}"
    assert [row[3:8] for row in rows] == [
        ["unknown_schema", schema, f"{topic}:0:{number}", "57", "0"] for number in range(3)
    ]
    assert "3 dead letters, 0 of them replayed" in listed.stdout
    places = [row[0] for row in rows]
    as_json = await _dlq(service, "list", "--json", "--schema", schema, "--limit", "1")
    assert json.loads(as_json.stdout)["place"] == places[-1]
    await _filters_go_by_the_rejection(service)

    shown = await _dlq(service, "show", places[0])
    assert "run\\x1b[2J" in shown.stdout
    assert "\\xff\\x00" in shown.stdout
    dumped = await _dlq(service, "show", places[0], "--payload")
    assert "|" not in dumped.stdout
    assert "00000000  c3 01 75 6e 6b 6e 6f 77 6e 21" in dumped.stdout
    await _dlq(service, "show", places[0], "--out", str(tmp_path / "value"))
    assert (tmp_path / "value").read_bytes() == UNKNOWN + SECRET
    said = [listed, as_json, shown, await _dlq(service, "replay", "--dry-run")]
    assert not any(SECRET.decode() in each.stdout + each.stderr for each in said)
    assert not any("\x1b" in each.stdout + each.stderr for each in [*said, dumped])
    assert "would be replayed  3" in said[-1].stdout
    assert len(await service.read(topic, 0)) == 3

    assert (await _dlq(service, "replay", places[1])).stdout.split()[:2] == ["replayed", "1"]
    assert (await _dlq(service, "replay")).stdout.split()[:2] == ["replayed", "2"]
    nothing = await _dlq(service, "replay")
    assert nothing.stdout.split() == ["replayed", "0", "replayed", "before", "3"]
    records = (await service.read(topic, 0))[3:]
    for record, number in zip(records, (1, 0, 2), strict=True):
        key, value, timestamp, headers = sent[number]
        assert (record.key, record.value, record.timestamp) == (key, value, timestamp)
        marks = [("streamproc.replay.attempt", b"1"), ("streamproc.replay.of", places[number].encode())]
        assert list(record.headers) == [*headers, *marks]

    again = service.start()
    # Not `is_done`: the marker of the replay's transaction is the last offset, and no record that could be committed.
    await eventually(lambda: _letters(service, 6))
    assert again.stop() == 0
    letters = await service.read(service.topics.dead_letters, 0)
    assert [_attempts(letter) for letter in letters] == [[], [], [], [b"1"], [b"1"], [b"1"]]
    left = await _dlq(service, "replay", "--max-attempts", "1")
    assert "not replayed: as many attempts as allowed (1)  3" in left.stdout
    assert "6 dead letters, 3 of them replayed" in (await _dlq(service, "list")).stdout


async def _filters_go_by_the_rejection(service: Fleet) -> None:
    """And a misspelt reason is warned of."""
    for option, age, count in (("--until", "50m", 0), ("--since", "50m", 3), ("--event-until", "50m", 3)):
        assert f"{count} dead letters" in (await _dlq(service, "list", option, age)).stdout
    misspelt = await _dlq(service, "replay", "--reason", "unknwon_schema")
    assert "unknown reason unknwon_schema" in misspelt.stderr
    assert "by reason: unknown_schema 3" in misspelt.stderr


async def _letters(service: Fleet, count: int) -> bool:
    return len(await service.read(service.topics.dead_letters, 0)) == count


async def _fill(service: Fleet) -> None:
    """Write many dead letters, as one commit of the service."""
    now_ms = int(time.time() * 1000)
    rejections = [
        Rejection(Arrived(offset, b"value %d" % offset, now_ms, b"key"), RejectionReason.BAD_FRAMING, "why")
        for offset in range(MANY)
    ]
    letters = [dead_letter(each, service.topics.events, 0, now_ms) for each in rejections]
    transactions = service.kafka.transactions(service.source(0))
    await transactions.fence()
    place = TopicPartition(service.topics.dead_letters, 0)
    await transactions.commit({place: letters}, {service.source(0): Committed(0, "a test's")})
    await transactions.close()


async def _sent(service: Fleet) -> int:
    """Return how many offsets of the events topic are stable."""
    return (await service.kafka.bounds(service.topics.events, 0))[1]


async def _each_went_once(service: Fleet) -> None:
    records = await service.read(service.topics.events, 0)
    marks = Counter(value for record in records for name, value in record.headers if name == "streamproc.replay.of")
    assert len(records) == len(marks) == MANY
    assert {record.value for record in records} == {b"value %d" % offset for offset in range(MANY)}


async def test_an_interrupted_replay_goes_on_where_it_ended(service: Fleet, tmp_path: Path) -> None:
    """SIGINT, then SIGTERM, then to the end: exit codes 130 and 0, every letter exactly once in the events topic."""
    await _fill(service)
    for number in (signal.SIGINT, signal.SIGTERM):
        replaying = Replaying(service, tmp_path / number.name)
        await replaying.stop_after(500)
        replaying.signal(number)
        began = time.monotonic()
        replaying.go_on()
        code, said = await replaying.end()
        print(f"{number.name}: ended {time.monotonic() - began:.2f} s later\n{said}")
        assert code == 130, said
        assert "still to be replayed" in said
        assert "may have been sent" not in said
        assert "the same command goes on from there" in said
    assert "replayed before" in (await _dlq(service, "replay")).stdout
    await _each_went_once(service)


async def test_a_killed_replay_is_taken_up_by_the_next(service: Fleet, tmp_path: Path) -> None:
    """SIGKILL in the middle: whatever was open is aborted by the next one's fence."""
    await _fill(service)
    replaying = Replaying(service, tmp_path / "killed")
    await replaying.stop_after(500)
    replaying.signal(signal.SIGKILL)
    assert (await replaying.end())[0] == -signal.SIGKILL
    await _dlq(service, "replay")
    await _each_went_once(service)


async def test_of_two_replays_the_later_one_goes_on(service: Fleet, tmp_path: Path) -> None:
    """The earlier one ends with exit code 1, and says why."""
    await _fill(service)
    earlier = Replaying(service, tmp_path / "earlier")
    await earlier.stop_after(500)
    later = Replaying(service, tmp_path / "later")
    await later.stop_after(500)
    earlier.go_on()
    later.go_on()
    (code, said), (other_code, other_said) = await asyncio.gather(earlier.end(), later.end())
    assert (code, other_code) == (1, 0), said + other_said
    assert "has taken over" in said
    await _each_went_once(service)


def _forged(value: bytes, **source: object) -> Message:
    """A dead letter that nobody but somebody with access to the topic could write."""
    said = {"partition": 0, "offset": 5, "timestamp": int(time.time() * 1000), **source}
    headers = [(deadletter.REASON, b"undecodable"), (deadletter.MESSAGE, b"why")]
    headers += [(f"streamproc.source.{name}", str(each).encode()) for name, each in said.items()]
    return b"key", value, int(time.time() * 1000), headers


async def _forge(service: Fleet, letters: list[Message]) -> None:
    """Write dead letters as somebody else, who is not in the service's group."""
    kafka = AioKafka(service.settings, f"{service.name}.forger")
    transactions = kafka.transactions(service.source(0))
    await transactions.fence()
    place = TopicPartition(service.topics.dead_letters, 0)
    await transactions.commit({place: letters}, {service.source(0): Committed(0, "")})
    await transactions.close()
    await kafka.close()


async def test_letters_that_kafka_or_the_service_would_refuse_are_left_and_block_nothing(service: Fleet) -> None:
    """rules.md 10, and the limits of the events topic, to the byte and with a minute to spare.

    The rest goes, odd names of headers and all, and the service takes it.
    """
    topic, now_ms = service.topics.events, int(time.time() * 1000)
    odd = [(b"\xff\xfe".decode("utf-8", "surrogateescape"), b"1")]
    marks = [("streamproc.replay.attempt", b"1"), ("streamproc.replay.of", b"0:0")]
    largest = service.settings.max_record_bytes - len(b"key") - headers_bytes(marks)
    raised = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(2 * largest)})
    await service.administer(lambda admin: admin.alter_configs([raised]))
    letters = [
        _forged(b"overflow", topic=topic, timestamp=9_999_999_999_999_999_999),
        _forged(b"far ahead", topic=topic, timestamp=now_ms + 7_200_000),
        _forged(b"x" * (largest + 1), topic=topic),
        _forged(b"y" * largest, topic=topic),
        _forged(b"odd", topic=topic),
    ]
    letters[-1][3][:0] = odd
    await _forge(service, letters)
    said = (await _dlq(service, "replay")).stdout
    for words in ("replayed ", "too large once marked", "admits no such time", "no dead letter"):
        assert words in said
    sent = await service.read(topic, 0)
    assert [record.value for record in sent] == [b"y" * largest, b"odd"]
    assert sent[1].headers[0] == odd[0]
    assert "\\xff\\xfe" in (await _dlq(service, "show", "0:4")).stdout
    worker = service.start()
    await eventually(lambda: _letters(service, len(letters) + 2))
    assert worker.stop() == 0


async def test_a_topic_that_admits_less_than_a_batch_gets_its_letters_back_and_one_it_refuses_is_named(
    service: Fleet,
) -> None:
    """The plan knows the limits; one that is lowered behind it ends the replay with the letter's place."""
    topic, now_ms = service.topics.events, int(time.time() * 1000)
    low = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "5000"})
    await service.administer(lambda admin: admin.alter_configs([low]))
    letters = [_forged(bytes(900), topic=topic, timestamp=now_ms) for _ in range(20)]
    packed = random.Random(1).randbytes(4_000)  # Zeros would be small enough for every limit.
    letters += [_forged(packed, topic=topic, timestamp=now_ms), _forged(b"small", topic=topic, timestamp=now_ms)]
    await _forge(service, letters)
    kafka = AioKafka(service.settings, f"{service.name}.dlq")
    try:
        terms = await terms_of(kafka, service.topics, Choice(), ReplayLimits(3, 1_000_000, knows_all), now_ms)
        plan = await survey(kafka, terms)
        assert plan.total == 22
        lower = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "3000"})
        await service.administer(lambda admin: admin.alter_configs([lower]))
        replay = LetterReplay(kafka, terms, plan, time.time, lambda _: None)
        with pytest.raises(ConfigError, match=r"the letter 0:20 of .* cannot be replayed"):
            await replay.run()
        assert (replay.replayed, replay.in_doubt) == (20, 0)
    finally:
        await kafka.close()
    said = await _dlq(service, "replay")
    assert said.stdout.split()[:2] == ["replayed", "1"], "the limit is known now, and the letter left"
    assert len(await service.read(topic, 0)) == 21
