"""Receipts for dead letters that were sent back, in a compacted topic of their own.

A replayed letter stays in its topic, and if its record fails again, another letter is added. Without receipts each
replay would send all of them, and their number would double every time.
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
    """A letter's record was sent back. `at_ms`: the time by the clock of the process that did it."""

    source: str
    at_ms: int


class Receipts:
    """The receipts of one partition of the dead-letter topic, by the letter's offset."""

    def __init__(self) -> None:
        self._known: dict[int, Receipt] = {}

    def of(self, letter: Letter) -> Receipt | None:
        """Return a letter's receipt. One for another record does not count: the topic was recreated since."""
        known = self._known.get(letter.offset)
        return known if known is not None and known.source == _identity(letter.source) else None

    def before(self, offset: int) -> list[int]:
        """Return the offsets below `offset` that have receipts."""
        return sorted(own for own in self._known if own < offset)

    def load(self, records: Sequence[Arrival], partition: int) -> None:
        """Load records of the topic; later ones replace earlier ones. Records of other writers are ignored."""
        for record in records:
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                number, offset, receipt = receipt_in(record)
                if number != partition:
                    continue
                if receipt is None:
                    self._known.pop(offset, None)
                else:
                    self._known[offset] = receipt


def receipt_in(record: Arrival) -> tuple[int, int, Receipt | None]:
    """Return the partition and offset of the letter that a record is about, and the receipt; None: it was withdrawn.

    Raises ValueError, KeyError, TypeError or AttributeError for a record that is not a receipt.
    """
    number, _, offset = (record.key or b"").decode().partition(":")
    if record.value is None:
        return int(number), int(offset), None
    fields = json.loads(record.value)
    return int(number), int(offset), Receipt(f"{fields['source']}@{fields['timestamp']}", int(fields["replayed_at"]))


def receipt(letter: Letter, now_ms: int) -> Message:
    """Return the message that says a letter was replayed."""
    fields = {
        "source": str(letter.source),
        "timestamp": letter.source.timestamp,
        "attempt": letter.attempt + 1,
        "replayed_at": now_ms,
    }
    return letter.place.encode(), json.dumps(fields, separators=(",", ":")).encode(), now_ms, []


def withdrawn(partition: int, offset: int, now_ms: int) -> Message:
    """Return the tombstone for the receipt of a letter that no longer exists."""
    return f"{partition}:{offset}".encode(), None, now_ms, []


async def read_receipts(kafka: Kafka, place: TopicPartition) -> Receipts:
    """Read a partition of the receipts. They are complete only after other writers were fenced.

    Raises as `read_all`.
    """
    receipts = Receipts()
    async with aclosing(read_all(kafka, place)) as everything:
        async for records in everything:
            receipts.load(records, place.partition)
    return receipts


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
    """Wait until the broker that answers knows a new topic."""
    backoff, waited_s = Backoff(0.05, 1.0), 0.0
    while waited_s < APPEAR_S:
        if info := (await kafka.topics([topic])).get(topic):
            return info
        wait_s = backoff.failed()
        waited_s += wait_s
        await sleep(wait_s)
    raise BrokerUnavailable(f"{topic} was created and does not appear")


def _identity(source: LetterOrigin) -> str:
    return f"{source}@{source.timestamp}"
