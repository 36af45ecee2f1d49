"""Receipts: which dead letters were sent back, in a compacted topic of their own.

A letter stays where it is when it is replayed, and where its record fails again, a further letter is added. Without
receipts each replay would send all of them, and their number would double every time.
"""

import json
from asyncio import sleep
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import NamedTuple

from streamproc.backoff import Backoff
from streamproc.codec.arrival import Arrival
from streamproc.codec.message import Message
from streamproc.dlq.letter import Letter, LetterOrigin
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.ports import Kafka, NewTopic, TopicInfo, TopicPartition
from streamproc.runtime.reading import read_all
from streamproc.runtime.topics import RECEIPTS

APPEAR_S = 10.0


class Receipt(NamedTuple):
    """A letter's record was sent back, at `at_ms` by the clock of who did it."""

    source: str
    at_ms: int


class Receipts:
    """Those of one partition of the dead-letter topic, by the letter's offset."""

    def __init__(self) -> None:
        self._known: dict[int, Receipt] = {}

    def of(self, letter: Letter) -> Receipt | None:
        """Return a letter's receipt; one for another record's letter is none: the topic was recreated since."""
        found = self._known.get(letter.offset)
        return found if found is not None and found.source == _identity(letter.source) else None

    def before(self, offset: int) -> list[int]:
        """Return the offsets below `offset` that there are receipts for."""
        return sorted(known for known in self._known if known < offset)

    def load(self, records: Sequence[Arrival], partition: int) -> None:
        """Take over records of the topic, later ones over earlier ones; passes over what this module did not write."""
        for record in records:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                number, offset, found = said_in(record)
                if number != partition:
                    continue
                if found is None:
                    self._known.pop(offset, None)
                else:
                    self._known[offset] = found


def said_in(record: Arrival) -> tuple[int, int, Receipt | None]:
    """Return which letter a record is about, by partition and offset, and its receipt, None where it is taken back.

    Raises ValueError, KeyError, TypeError or AttributeError for what is none.
    """
    number, _, offset = (record.key or b"").decode().partition(":")
    if record.value is None:
        return int(number), int(offset), None
    said = json.loads(record.value)
    return int(number), int(offset), Receipt(f"{said['source']}@{said['timestamp']}", int(said["replayed_at"]))


def receipt(letter: Letter, now_ms: int) -> Message:
    """Return the message that says a letter was replayed."""
    said = {
        "source": str(letter.source),
        "timestamp": letter.source.timestamp,
        "attempt": letter.attempt + 1,
        "replayed_at": now_ms,
    }
    return letter.place.encode(), json.dumps(said, separators=(",", ":")).encode(), now_ms, []


def withdrawn(partition: int, offset: int, now_ms: int) -> Message:
    """Return the null that takes back the receipt of a letter that is no longer there."""
    return f"{partition}:{offset}".encode(), None, now_ms, []


async def read_receipts(kafka: Kafka, place: TopicPartition) -> Receipts:
    """Read a partition of the receipts; complete only behind a fence of who may write them. Raises as `read_all`."""
    found = Receipts()
    async with aclosing(read_all(kafka, place)) as everything:
        async for records in everything:
            found.load(records, place.partition)
    return found


async def ensure_topic(kafka: Kafka, topic: str, partitions: int) -> None:
    """Create the topic of receipts where it is missing; raises ConfigError where it does not fit."""
    existing = await kafka.topics([topic])
    if topic not in existing:
        await kafka.create([NewTopic(topic, partitions, RECEIPTS.config)])
    info = existing.get(topic) or await _appeared(kafka, topic)
    policy = info.config.get("cleanup.policy", "")
    if info.partitions < partitions:
        raise ConfigError(
            f"{topic} has {info.partitions} partitions, the dead-letter topic has {partitions}: add partitions to it"
        )
    if policy != "compact":
        raise ConfigError(
            f"{topic} has cleanup.policy={policy}, it must be compact: a receipt that is "
            "deleted lets its letter be replayed again; alter the topic"
        )


async def _appeared(kafka: Kafka, topic: str) -> TopicInfo:
    """Wait for a new topic to be known to the broker that is asked."""
    backoff, waited_s = Backoff(0.05, 1.0), 0.0
    while waited_s < APPEAR_S:
        if found := (await kafka.topics([topic])).get(topic):
            return found
        wait_s = backoff.failed()
        waited_s += wait_s
        await sleep(wait_s)
    raise BrokerUnavailable(f"{topic} was created and does not appear")


def _identity(source: LetterOrigin) -> str:
    return f"{source}@{source.timestamp}"
