"""Plans a replay: which letters are sent back, and why the others stay. Writes nothing."""

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
from streamproc.dlq.listing import LetterCounts, NameCounts
from streamproc.dlq.originals import Originals
from streamproc.dlq.receipts import Receipts
from streamproc.dlq.scanning import DeadLetterTopics, names_of, scan
from streamproc.errors import ConfigError, RejectionReason
from streamproc.runtime.config import BATCH_BYTES, TopicSettings
from streamproc.runtime.ports import Kafka
from streamproc.runtime.topics import absent, partitions_of

NO_LIMIT = -1
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
NAMED = 5
"""How many places of each kind a message names; the others are counted."""


class LetterVerdict(StrEnum):
    """What becomes of a letter; the values are keys of the console's API."""

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

    @property
    def told(self) -> str:
        """The text for people, to whom "left" would say that it is still to be done."""
        return self.value.replace("left: ", "not replayed: ", 1)


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
    """Limits of the events topic and of the service. None: no limit.

    `oldest_ms`: retention may delete a record with an earlier timestamp before anybody reads it. `first_ms`, `last_ms`:
    the broker refuses earlier and later timestamps. `record_bytes`: limit on key, value and headers, above which the
    service stops. `batch_bytes`: limit on the batch of one record.
    """

    oldest_ms: int | None
    first_ms: int
    last_ms: int | None
    record_bytes: int
    batch_bytes: int


class ReplayTerms(NamedTuple):
    """The terms of a replay. `partitions`: of the dead-letter topic; `events_partitions`: of the events topic."""

    names: DeadLetterTopics
    events: str
    partitions: int
    events_partitions: int
    bounds: Bounds
    limits: ReplayLimits
    choice: Choice

    def judge(self, letter: Letter | Foreign, receipts: Receipts) -> LetterVerdict:
        """Decide what becomes of a letter. `whole` checks the limits on size and time of a cut letter later."""
        if isinstance(letter, Foreign):
            return LetterVerdict.FOREIGN
        if letter.was_skipped:
            return LetterVerdict.SKIPPED
        if receipts.of(letter) is not None:
            return LetterVerdict.REPLAYED
        if letter.source.topic != self.events or letter.source.partition >= self.events_partitions:
            return LetterVerdict.NOWHERE if letter.source.topic == self.events else LetterVerdict.ELSEWHERE
        if letter.attempt >= self.limits.attempts:
            return LetterVerdict.EXHAUSTED
        return LetterVerdict.REPLAY if letter.is_cut else self._admitted(letter)

    def is_mended(self, letter: Letter) -> bool:
        """Tell whether it may fare better this time, as far as can be told without looking at it."""
        return letter.reason != RejectionReason.UNKNOWN_SCHEMA or self.limits.knows(letter.schema)

    async def whole(self, originals: Originals, letter: Letter) -> tuple[LetterVerdict, Letter]:
        """Return the verdict on a letter to be replayed, and the letter with its whole record, read again if cut."""
        if not letter.is_cut:
            return LetterVerdict.REPLAY, letter
        original = await originals.of(letter)
        return (LetterVerdict.LOST, letter) if original is None else (self._admitted(original), original)

    def _admitted(self, letter: Letter) -> LetterVerdict:
        bounds, (key, value, at_ms, headers) = self.bounds, letter.again()
        # A record without a timestamp is never refused, and does not make its segment older.
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
    """The letters that pass the filter, counted by verdict; `ends`: how far each partition was read.

    `pending`: letters to be replayed, by partition; `chosen`: the same by reason and schema; `others`: letters that do
    not pass the filter; `unmended`: schemas of letters that will be rejected again; `nothing_at`: named places without
    a letter.
    """

    def __init__(self) -> None:
        self.counts: Counter[LetterVerdict] = Counter()
        self.ends: dict[int, int] = {}
        self.pending: Counter[int] = Counter()
        self.topics = NameCounts()
        self.others = LetterCounts()
        self.chosen = LetterCounts()
        self.unmended = NameCounts()
        self.nothing_at: list[Place] = []
        self._places: dict[LetterVerdict, list[tuple[int, int]]] = {}

    @property
    def total(self) -> int:
        """How many letters are to be replayed."""
        return self.counts[LetterVerdict.REPLAY]

    def add(self, letter: Letter | Foreign, verdict: LetterVerdict) -> None:
        """Count a letter."""
        self.counts[verdict] += 1
        if verdict is LetterVerdict.REPLAY:
            self.pending[letter.partition] += 1
        if verdict is LetterVerdict.ELSEWHERE and isinstance(letter, Letter):
            self.topics.add(letter.source.topic)
        # Sorted, because partitions are read side by side; only as many are kept as a message names.
        named = sorted([*self._places.get(verdict, ()), (letter.partition, letter.offset)])
        self._places[verdict] = named[:NAMED]

    def left(self) -> Iterator[tuple[LetterVerdict, int, str]]:
        """Yield each verdict by which letters stay, their count, and a text with their first places."""
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
    """Look up the terms of a replay; `topics` with their prefix. Raises ConfigError for missing topics."""
    names = names_of(topics)
    partitions = await partitions_of(kafka, names.dead_letters)
    events = (await kafka.topics([topics.events])).get(topics.events)
    if events is None:
        raise ConfigError(absent(topics.events))
    bounds = bounds_of(events.config, limits.record_bytes, now_ms)
    return ReplayTerms(names, topics.events, partitions, events.partitions, bounds, limits, choice)


def bounds_of(config: Mapping[str, str], record_bytes: int, now_ms: int) -> Bounds:
    """Return the limits of a topic with this configuration, and of a service with this `record_bytes`.

    A margin of a minute allows for different clocks of broker and command, and for the duration of a replay.
    """
    before_ms, after_ms = (config.get(f"message.timestamp.{side}.max.ms") for side in ("before", "after"))
    if config.get("message.timestamp.type") == "LogAppendTime":
        before_ms = after_ms = None
    first_ms = 0 if before_ms is None else max(0, now_ms - int(before_ms) + MINUTE_MS)
    last_ms = None if after_ms is None else now_ms + max(0, int(after_ms) - MINUTE_MS)
    largest = int(config.get("max.message.bytes", record_bytes + BATCH_BYTES))
    return Bounds(oldest_kept(config, now_ms), first_ms, last_ms, record_bytes, largest)


def oldest_kept(config: Mapping[str, str], now_ms: int) -> int | None:
    """Return the earliest safe timestamp for a new record of a topic, None where any is safe.

    A replay keeps the timestamp (rules.md 15), and Kafka deletes by it: a segment, even the active one, is deleted when
    all its records are older than the retention. So there is a margin.
    """
    retention_ms = int(config.get("retention.ms", NO_LIMIT))
    if retention_ms == NO_LIMIT or config.get("message.timestamp.type") == "LogAppendTime":
        return None
    return now_ms - retention_ms + min(HOUR_MS, retention_ms // 10)


async def survey(kafka: Kafka, terms: ReplayTerms) -> ReplayPlan:
    """Read the present dead letters and plan their replay; raises as `scan`."""
    plan, unseen = ReplayPlan(), set(terms.choice.places)
    cut: list[Letter] = []

    def take(letter: Letter | Foreign, receipts: Receipts) -> None:
        unseen.discard((letter.partition, letter.offset))
        verdict = terms.judge(letter, receipts)
        if verdict is LetterVerdict.REPLAY and isinstance(letter, Letter) and letter.is_cut:
            # There may be many, so the remains of the record are dropped: they are of no use.
            cut.append(letter._replace(key=None, value=None, headers=()))
        else:
            settle(letter, verdict)

    def settle(letter: Letter | Foreign, verdict: LetterVerdict) -> None:
        plan.add(letter, verdict)
        if verdict is LetterVerdict.REPLAY and isinstance(letter, Letter):
            plan.chosen.add(letter)
            if not terms.is_mended(letter):
                plan.unmended.add(letter.schema)

    def pass_over(letter: Letter) -> None:
        unseen.discard((letter.partition, letter.offset))
        plan.others.add(letter)

    plan.ends = await scan(kafka, terms.names, terms.choice, take, pass_over)
    async with aclosing(Originals(kafka)) as originals:
        for letter in sorted(cut, key=lambda letter: letter.source):
            settle(letter, (await terms.whole(originals, letter))[0])
    plan.nothing_at = sorted(place for place in unseen if place[0] in plan.ends)
    return plan
