"""What a replay would do: which letters go back, and why the others stay. Writes nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import NamedTuple

from streamproc.codec.sizes import MAX_HEADERS, batch_bytes, headers_bytes, headers_count
from streamproc.core.model import NO_TIMESTAMP
from streamproc.dlq.choice import Choice, Place
from streamproc.dlq.letter import Foreign, Letter
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.listing import NameCounts, Seen
from streamproc.dlq.originals import Originals
from streamproc.dlq.receipts import Receipts
from streamproc.dlq.scanning import DeadLetterTopics, missing, names_of, partitions_of, scan
from streamproc.errors import RejectionReason
from streamproc.runtime.config import BATCH_BYTES, TopicSettings
from streamproc.runtime.ports import Kafka

NO_LIMIT = -1
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
NAMED = 5
"""So many places of each kind are named, the others are counted."""


class LetterVerdict(StrEnum):
    """What becomes of a letter; the values are what people read."""

    REPLAY = "to be replayed"
    REPLAYED = "replayed before"
    EXHAUSTED = "left: as many attempts as allowed"
    ELSEWHERE = "left: not from the events topic"
    NOWHERE = "left: its partition of the events topic is not there"
    EXPIRED = "left: older than the events topic keeps, raise its retention.ms first"
    REFUSED = (
        "left: the events topic admits no such time, raise its message.timestamp.before.max.ms or .after.max.ms first"
    )
    TOO_LARGE = (
        "left: too large once marked, raise kafka.max_record_bytes or the events topic's max.message.bytes first"
    )
    HEADERS = f"left: more headers than the {MAX_HEADERS:,} that are taken"
    LOST = "left: cut, and its original is no longer in the events topic"
    SKIPPED = "left: passed over by `streamproc offsets skip`, there is no record to send"
    FOREIGN = "left: no dead letter, somebody else wrote it"


LEFT = (
    LetterVerdict.EXHAUSTED,
    LetterVerdict.EXPIRED,
    LetterVerdict.REFUSED,
    LetterVerdict.TOO_LARGE,
    LetterVerdict.HEADERS,
    LetterVerdict.LOST,
    LetterVerdict.SKIPPED,
    LetterVerdict.ELSEWHERE,
    LetterVerdict.NOWHERE,
    LetterVerdict.FOREIGN,
)


class Bounds(NamedTuple):
    """What the events topic and the service admit.

    `oldest_ms`: a record with an earlier timestamp may be deleted from the topic before anybody reads it; those before
    `first_ms` or after `last_ms` the broker refuses. None: whatever it may be. `record_bytes`: of key, value and
    headers, beyond which the service ends; `batch_bytes`: of the batch that a record comes in.
    """

    oldest_ms: int | None
    first_ms: int
    last_ms: int | None
    record_bytes: int
    batch_bytes: int


class ReplayTerms(NamedTuple):
    """What a replay goes by. `partitions`: of the dead-letter topic; `events_partitions`: of the events topic."""

    names: DeadLetterTopics
    events: str
    partitions: int
    events_partitions: int
    bounds: Bounds
    limits: ReplayLimits
    choice: Choice

    def judge(self, found: Letter | Foreign, receipts: Receipts) -> LetterVerdict:
        """Decide what becomes of a letter; of one that is cut only as far as that does not matter."""
        if isinstance(found, Foreign):
            return LetterVerdict.FOREIGN
        if found.was_skipped:
            return LetterVerdict.SKIPPED
        if receipts.of(found) is not None:
            return LetterVerdict.REPLAYED
        if found.source.topic != self.events or found.source.partition >= self.events_partitions:
            return LetterVerdict.NOWHERE if found.source.topic == self.events else LetterVerdict.ELSEWHERE
        if found.attempt >= self.limits.attempts:
            return LetterVerdict.EXHAUSTED
        return LetterVerdict.REPLAY if found.is_cut else self._admitted(found)

    def is_mended(self, letter: Letter) -> bool:
        """Tell whether it may fare better this time, as far as can be told without looking at it."""
        return letter.reason != RejectionReason.UNKNOWN_SCHEMA or self.limits.knows(letter.schema)

    async def whole(self, originals: Originals, letter: Letter) -> tuple[LetterVerdict, Letter]:
        """Return a letter that is to be replayed with its whole record, which is read again where it is cut here."""
        if not letter.is_cut:
            return LetterVerdict.REPLAY, letter
        found = await originals.of(letter)
        return (LetterVerdict.LOST, letter) if found is None else (self._admitted(found), found)

    def _admitted(self, letter: Letter) -> LetterVerdict:
        bounds, (key, value, at_ms, headers) = self.bounds, letter.again()
        # A record without a time is refused nowhere, and does not make a segment old.
        if at_ms != NO_TIMESTAMP and bounds.oldest_ms is not None and at_ms < bounds.oldest_ms:
            return LetterVerdict.EXPIRED
        is_late = bounds.last_ms is not None and at_ms > bounds.last_ms
        if at_ms != NO_TIMESTAMP and (at_ms < bounds.first_ms or is_late):
            return LetterVerdict.REFUSED
        if headers_count(letter.headers) > MAX_HEADERS or len(headers) > MAX_HEADERS:
            return LetterVerdict.HEADERS
        size = len(key or b"") + len(value or b"") + headers_bytes(headers)
        is_too_large = size > bounds.record_bytes or batch_bytes(key, value, headers) > bounds.batch_bytes
        return LetterVerdict.TOO_LARGE if is_too_large else LetterVerdict.REPLAY


class ReplayPlan:
    """The letters that are meant, counted by verdict, and how far each partition was read.

    `meant`: those to be replayed; `unmended`: schemas of those that will be rejected again; `nothing_at`: places that
    were named and hold no letter.
    """

    def __init__(self) -> None:
        self.counts: Counter[LetterVerdict] = Counter()
        self.ends: dict[int, int] = {}
        self.pending: Counter[int] = Counter()
        self.topics = NameCounts()
        self.passed_over = Seen()
        self.meant = Seen()
        self.unmended = NameCounts()
        self.nothing_at: list[Place] = []
        self._places: dict[LetterVerdict, list[tuple[int, int]]] = {}

    @property
    def total(self) -> int:
        """How many letters are to be replayed."""
        return self.counts[LetterVerdict.REPLAY]

    def add(self, found: Letter | Foreign, verdict: LetterVerdict) -> None:
        """Count a letter."""
        self.counts[verdict] += 1
        if verdict is LetterVerdict.REPLAY:
            self.pending[found.partition] += 1
        if verdict is LetterVerdict.ELSEWHERE and isinstance(found, Letter):
            self.topics.add(found.source.topic)
        # In the order of partitions, which are read side by side; no more are kept than can be named.
        named = sorted([*self._places.get(verdict, ()), (found.partition, found.offset)])
        self._places[verdict] = named[:NAMED]

    def left(self) -> Iterator[tuple[LetterVerdict, int, str]]:
        """Yield each reason why letters stay, how many do, and which: the first places, and the topics of the rest."""
        for verdict in LEFT:
            if count := self.counts[verdict]:
                places = ", ".join(f"{partition}:{offset}" for partition, offset in self._places[verdict])
                more = f" and {count - NAMED:,} more" if count > NAMED else ""
                topics = (
                    f" (from {', '.join(sorted(self.topics)[:NAMED])})" if verdict is LetterVerdict.ELSEWHERE else ""
                )
                yield verdict, count, places + more + topics


async def terms_of(
    kafka: Kafka, topics: TopicSettings, choice: Choice, limits: ReplayLimits, now_ms: int
) -> ReplayTerms:
    """Look up what a replay goes by; `topics` with their prefix. Raises ConfigError for topics that are not there."""
    names = names_of(topics)
    partitions = await partitions_of(kafka, names.dead_letters, "DEAD_LETTERS")
    events = (await kafka.topics([topics.events])).get(topics.events)
    if events is None:
        raise missing(topics.events, "EVENTS")
    bounds = bounds_of(events.config, limits.record_bytes, now_ms)
    return ReplayTerms(names, topics.events, partitions, events.partitions, bounds, limits, choice)


def bounds_of(config: Mapping[str, str], record_bytes: int, now_ms: int) -> Bounds:
    """Return what a topic with this configuration admits, and a service that takes records of so many bytes.

    The clocks of broker and command may differ by a minute, and a replay takes its time.
    """
    before_ms, after_ms = (config.get(f"message.timestamp.{side}.max.ms") for side in ("before", "after"))
    if config.get("message.timestamp.type") == "LogAppendTime":
        before_ms = after_ms = None
    first_ms = 0 if before_ms is None else max(0, now_ms - int(before_ms) + MINUTE_MS)
    last_ms = None if after_ms is None else now_ms + max(0, int(after_ms) - MINUTE_MS)
    largest = int(config.get("max.message.bytes", record_bytes + BATCH_BYTES))
    return Bounds(oldest_kept(config, now_ms), first_ms, last_ms, record_bytes, largest)


def oldest_kept(config: Mapping[str, str], now_ms: int) -> int | None:
    """Return the earliest timestamp that a new record of a topic may have, None where any may be had.

    A replay keeps the timestamp (rules.md 15), and Kafka deletes by it: a segment goes, even the one being written,
    when all its records are older than the retention. So this stays on the safe side.
    """
    retention_ms = int(config.get("retention.ms", NO_LIMIT))
    if retention_ms == NO_LIMIT or config.get("message.timestamp.type") == "LogAppendTime":
        return None
    return now_ms - retention_ms + min(HOUR_MS, retention_ms // 10)


async def survey(kafka: Kafka, terms: ReplayTerms) -> ReplayPlan:
    """Read the dead letters that are there now; raises as `scan`."""
    plan, named = ReplayPlan(), set(terms.choice.places)
    cut: list[Letter] = []

    def take(found: Letter | Foreign, known: Receipts) -> None:
        named.discard((found.partition, found.offset))
        verdict = terms.judge(found, known)
        if verdict is LetterVerdict.REPLAY and isinstance(found, Letter) and found.is_cut:
            # There may be many; what is left of its record is of no use.
            cut.append(found._replace(key=None, value=None, headers=()))
        else:
            settle(found, verdict)

    def settle(found: Letter | Foreign, verdict: LetterVerdict) -> None:
        plan.add(found, verdict)
        if verdict is LetterVerdict.REPLAY and isinstance(found, Letter):
            plan.meant.add(found)
            if not terms.is_mended(found):
                plan.unmended.add(found.schema)

    def pass_over(letter: Letter) -> None:
        named.discard((letter.partition, letter.offset))
        plan.passed_over.add(letter)

    plan.ends = await scan(kafka, terms.names, terms.choice, take, pass_over)
    async with aclosing(Originals(kafka)) as originals:
        for letter in sorted(cut, key=lambda each: each.source):
            settle(letter, (await terms.whole(originals, letter))[0])
    plan.nothing_at = sorted(place for place in named if place[0] in plan.ends)
    return plan
