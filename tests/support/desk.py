"""Dead letters on the fake Kafka: written as the service writes them, replayed as the command replays them."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from streamproc.codec.deadletter import dead_letter
from streamproc.codec.decode import Rejection
from streamproc.dlq.choice import Choice
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.planning import ReplayPlan, ReplayTerms, survey, terms_of
from streamproc.dlq.replaying import LetterReplay
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.topics import create_topics, receipts_topic
from tests.support.fake_kafka import Entry, FakeKafka, Log

NOW_MS = 1_800_000_000_000
EVERYTHING = Choice()
MAX_RECORD_BYTES = 10_000


def knows_all(_: str) -> bool:
    """Know every schema."""
    return True


class Desk:
    """The topics of one application."""

    def __init__(self, partitions: int = 2) -> None:
        self.kafka = FakeKafka()
        self.topics = TopicSettings()
        self.partitions = partitions

    async def create(self) -> None:
        """Create the topics of the service."""
        await create_topics(self.kafka, self.topics, self.partitions, MAX_RECORD_BYTES)

    def log(self, role: str, partition: int = 0) -> Log:
        """Return a partition of a topic, by the name of its setting or `receipts`."""
        name = receipts_topic(self.topics.dead_letters) if role == "receipts" else getattr(self.topics, role)
        return self.kafka.logs[name][partition]

    def fail(self, count: int, partition: int = 0, reason: str = "unknown_schema", **fields: Any) -> None:
        """Have as many new events arrive and fail."""
        for _ in range(count):
            log = self.log("events", partition)
            number = log.end
            message = (b"key", b"value %d" % number, NOW_MS - 1_000 + number, [("number", str(number).encode())])
            self.reject(log.append(message, "committed"), partition, reason, **fields)

    def reject(self, record: Entry, partition: int, reason: str = "unknown_schema", topic: str = "") -> None:
        """Have the service put a record into the dead-letter topic."""
        letter = dead_letter(Rejection(record, reason, "why"), topic or self.topics.events, partition, NOW_MS)
        self.log("dead_letters", partition).append(letter, "committed")

    def fail_again(self) -> None:
        """Have the service come across what was replayed since, and fail on it again."""
        for partition in range(self.partitions):
            known = {dict(letter.headers)["streamproc.source.offset"] for letter in self.letters(partition)}
            # A header of an earlier failure may be there, too: the last one counts, as dict() has it.
            for record in self.log("events", partition).stable(0):
                if str(record.offset).encode() not in known:
                    self.reject(record, partition)

    def letters(self, partition: int) -> list[Entry]:
        """Return the dead letters of a partition."""
        return self.log("dead_letters", partition).stable(0)

    def sent(self) -> Counter[bytes]:
        """Count the records of the events topic that replays have sent, by their letter."""
        marks = [
            f"{partition}/".encode() + dict(record.headers)["streamproc.replay.of"]
            for partition in range(self.partitions)
            for record in self.log("events", partition).stable(0)
            if "streamproc.replay.of" in dict(record.headers)
        ]
        return Counter(marks)

    async def terms(self, choice: Choice = EVERYTHING, max_attempts: int = 3) -> ReplayTerms:
        """Return what a replay goes by."""
        limits = ReplayLimits(max_attempts, MAX_RECORD_BYTES, knows_all)
        return await terms_of(self.kafka, self.topics, choice, limits, NOW_MS)

    async def plan(self, choice: Choice = EVERYTHING, max_attempts: int = 3) -> ReplayPlan:
        """Return what a replay would do."""
        return await survey(self.kafka, await self.terms(choice, max_attempts))

    async def replay(
        self, choice: Choice = EVERYTHING, max_attempts: int = 3, on_replayed: Callable[[int], None] = lambda _: None
    ) -> LetterReplay:
        """Return a replay that is yet to be run."""
        terms = await self.terms(choice, max_attempts)
        return LetterReplay(self.kafka, terms, await survey(self.kafka, terms), lambda: NOW_MS / 1000, on_replayed)

    async def replayed(self, choice: Choice = EVERYTHING, max_attempts: int = 3) -> int:
        """Replay, and return how many letters were sent."""
        replay = await self.replay(choice, max_attempts)
        await replay.run()
        return replay.replayed
