"""The fold stage: run events in; states, transitions, alerts, dead letters and measurements out. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from weakref import WeakValueDictionary

from msgspec import Struct

from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.arrival import Arrival, instant
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import Decoded, decode_together
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.measurements import Folded, MeasurementEncoder
from streamproc.codec.message import Messages
from streamproc.codec.runstate import latest_runs
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames
from streamproc.codec.verdicts import VerdictEncoder
from streamproc.core.beacon import Beacon
from streamproc.core.measure import Mark
from streamproc.core.model import Moment
from streamproc.core.payloads import IN_HAND
from streamproc.core.rules import Rules
from streamproc.core.step import begin, pass_time, step
from streamproc.core.tally import First
from streamproc.runtime.config import CommitSettings, TopicSettings
from streamproc.runtime.observer import CommitReport, FoldReport, count_alerts
from streamproc.runtime.oversized import set_apart
from streamproc.runtime.ports import Outputs, TopicPartition
from streamproc.runtime.position import Position
from streamproc.runtime.restore import GONE, KeyOrigins
from streamproc.runtime.stage import Absorbed, Allows, Batch, MissingSchemas, Pending, SizeLimits, TooMany, here
from streamproc.store.keeper import PayloadKeeper
from streamproc.store.store import ALONE, Host, Store, StoreSettings

MAX_SPOKEN_PER_COMMIT = 10_000
"""Alerts and sums of measurements in one commit: at 5 µs each well under 100 ms of CPU."""


class FoldSettings(Struct, frozen=True):
    """Settings of the fold. `topics` with their prefix; `partition_of`: see the ports."""

    application_id: str
    topics: TopicSettings
    rules: Rules
    book: SchemaBook
    commit: CommitSettings
    partition_of: Callable[[bytes, int], int]
    frames: Frames = SINGLE_OBJECTS
    store: StoreSettings = StoreSettings()


class FoldStage:
    """Folds the records of the input partitions."""

    every_s = 0.0

    def __init__(
        self,
        settings: FoldSettings,
        partitions: int,
        limits: SizeLimits = SizeLimits(),  # noqa: B008  it cannot be changed
        host: Host = ALONE,
    ) -> None:
        self.settings = settings
        self.topic = settings.topics.events
        self.state_topic = settings.topics.state
        self.profile = settings.rules.profile.name
        self.partitions = partitions
        self.limits = limits
        self.store = Store(settings.store, host)
        self._encoders: dict[int, OutputEncoder] = {}
        self._alerts = AlertEncoder(settings.application_id, settings.frames)
        self._verdicts = VerdictEncoder(settings.application_id, settings.frames)
        self._running: WeakValueDictionary[int, FoldMemory] = WeakValueDictionary()
        self._measurements = MeasurementEncoder(
            settings.application_id, self.topic, partitions, settings.partition_of, limits.record_bytes
        )

    def fresh(self, partition: int, stream_time: int) -> "FoldMemory":
        """Return the empty memory of a partition; it replaces all that this instance remembered of the partition."""
        return FoldMemory(self, partition, self.store.keeper(partition, self.settings.rules, stream_time))

    def decode(self, brought: Mapping[int, Sequence[Arrival]]) -> Mapping[int, Decoded]:
        """Decode records by partition; records that are too large are among the rejections."""
        apart = {partition: set_apart(records, self.limits.record_bytes) for partition, records in brought.items()}
        decoded = decode_together({partition: each.fitting for partition, each in apart.items()}, self.settings.book)
        return {partition: apart[partition].joined(batch) for partition, batch in decoded.items()}

    def encode(self, batches: Sequence["FoldBatch"], at: Moment) -> Outputs:
        """Return the outputs of closed batches."""
        self._seek_twofold(batches)
        topics, outputs = self.settings.topics, dict[TopicPartition, Messages]()
        for batch in batches:
            by_topic = {
                topics.transitions: self._encoder(batch.partition).transitions(batch.out.transitions, at.wall_ms),
                topics.state: self._states(batch, at),
                topics.alerts: self._alert_messages(batch, at),
                topics.dead_letters: batch.dead_letters,
                **self._ruled(batch, at),
            }
            outputs.update(here(batch.source, by_topic))
        return {**outputs, **self._spread(batches, at)}

    def _encoder(self, partition: int) -> OutputEncoder:
        if partition not in self._encoders:
            source = OutputSource(self.settings.application_id, self.topic, partition)
            self._encoders[partition] = OutputEncoder(source, self.settings.frames)
        return self._encoders[partition]

    def _seek_twofold(self, batches: Sequence["FoldBatch"]) -> None:
        """Count new runs that also live on another partition of this worker (rules.md 1), or begin on two at once.

        For the whole commit at once: comparing each pair of partitions would be costly where there are many.
        """
        opened: dict[str, FoldBatch] = {}
        for batch in batches:
            for run_id in batch.out.tally.opened:
                if (other := opened.setdefault(run_id, batch)) is not batch:
                    batch.is_twofold(run_id, other.partition)
        for partition, memory in self._running.items() if opened else ():
            if not memory.state.runs.isdisjoint(opened):
                for run_id, batch in opened.items():
                    if batch.partition != partition and run_id in memory.state.runs:
                        batch.is_twofold(run_id, partition)

    def enter(self, memory: "FoldMemory") -> None:
        """Add a running partition to those that new runs are compared with."""
        self._running[memory.partition] = memory

    def _states(self, batch: "FoldBatch", at: Moment) -> Messages:
        """Return the states of changed runs, then the tombstones of forgotten ones."""
        out, encoder = batch.out, self._encoder(batch.partition)
        runs = batch.memory.state.whole([run for run in out.runs.values() if run is not None])
        states = encoder.states(runs, at.wall_ms, out.causes, batch.sequence)
        if out.forgotten:
            states.extend(encoder.tombstones(out.forgotten, out.now, batch.sequence, at.wall_ms))
        return states

    def _ruled(self, batch: "FoldBatch", at: Moment) -> dict[str, Messages]:
        """Return the verdicts on events that changed no status, by topic; empty if the topic is not used."""
        topic, rulings = self.settings.topics.verdicts, batch.out.rulings
        if topic is None or not rulings:
            return {}
        source = OutputSource(self.settings.application_id, *batch.source)
        return {topic: self._verdicts.messages(rulings, at.wall_ms, source)}

    def _alert_messages(self, batch: "FoldBatch", at: Moment) -> Messages:
        source = OutputSource(self.settings.application_id, *batch.source)
        return self._alerts.messages(batch.out.alerts, at.wall_ms, source) if batch.out.alerts else []

    def _spread(self, batches: Sequence["FoldBatch"], at: Moment) -> Outputs:
        """Return the input of the windows: the measurements, and the mark of each source."""
        folded = [Folded(each.partition, each.sequence, each.out.tally.cells, each.mark) for each in batches]
        topic, spread = self.settings.topics.measurements, self._measurements.messages(folded, at.wall_ms)
        return {TopicPartition(topic, number): messages for number, messages in spread.items()}


class FoldMemory:
    """The memory of one input partition. `seen_at`: the clock when it last had an event, in milliseconds."""

    def __init__(self, stage: FoldStage, partition: int, keeper: PayloadKeeper) -> None:
        self.stage = stage
        self.partition = partition
        self.state = keeper.state
        self.keeper = keeper
        self.beacon = Beacon(partition)
        self.seen_at = 0

    def load(self, records: Sequence[Arrival]) -> KeyOrigins:
        """Put records of run-state into the state."""
        runs, gone = latest_runs(records)
        for run in runs:
            self.state.put(run)
        for run_id in gone:
            self.state.remove(run_id)
        keys = [*(run.run_id for run in runs), *gone]
        if self.state.changed is not None:
            self.state.changed.update(keys)
        return KeyOrigins(keys, [*(run.offset for run in runs), *(GONE for _ in gone)])

    def begin(self, position: Position, allows: Allows | None) -> "FoldBatch":
        """Return a new batch on top of the state."""
        self.stage.enter(self)
        return FoldBatch(self, position, allows)


class FoldBatch(Batch):
    """One partition's part of a commit."""

    def __init__(self, memory: FoldMemory, position: Position, allows: Allows | None) -> None:
        source = TopicPartition(memory.stage.topic, memory.partition)
        super().__init__(source, position, memory.stage.limits.letter_bytes, allows)
        self.partition = memory.partition
        self.out = begin(memory.state)
        self.mark: Mark | None = None
        self.sequence = position.sequence + 1
        self.memory = memory
        self._seen_at = memory.seen_at
        self._wall_ms = 0

    def absorb(self, records: Sequence[Arrival], decoded: Decoded, at: Moment) -> Absorbed:
        """Fold records, up to one that may not be rejected yet or whose schema is missing."""
        stop: MissingSchemas | TooMany | None = MissingSchemas(decoded.missing) if decoded.missing else None
        if over := self._over_limit(decoded.rejections):
            stop = TooMany(over.reason)
            decoded = decoded.before(over.record.offset)
        step(self.memory.state, decoded.events, at, self.out)
        self._took(records[: decoded.taken], decoded.rejections, at)
        if stop is not None:
            self.last_timestamp = instant(records[decoded.taken].timestamp, at.wall_ms)
        self._seen_at = at.wall_ms
        return Absorbed(decoded.taken, stop)

    def pass_time(self, at: Moment, *, heard: bool, read_all: bool) -> None:
        """Pass time: deadlines, retention, and a mark for the windows."""
        self._wall_ms = at.wall_ms
        memory, out = self.memory, pass_time(self.memory.state, at, self.out)
        if not heard:
            return  # No answer, or an open transaction: earlier knowledge proves nothing about the time since.
        # Bad records, and times that are not believed, keep a partition from becoming idle but move no stream time: it
        # must not delay the windows of all the others.
        stands_still = read_all and out.stream_time == memory.state.stream_time
        self.mark = memory.beacon.due(
            out.stream_time, idle=at.caught_up or stands_still, seen_at=self._seen_at, wall_ms=at.wall_ms
        )

    def settle(self) -> None:
        """Note which runs were examined without a change, so that nothing examines them again."""
        self.memory.state.settle(self.out)
        self.memory.keeper.tend(self._wall_ms)

    @property
    def load(self) -> float:
        """How much of what one commit may hold is in here."""
        spoken = len(self.out.alerts) + len(self.out.tally.cells)
        most = self.memory.stage.settings.commit.max_records
        return max(self._bytes_load, self.records / most, spoken / MAX_SPOKEN_PER_COMMIT)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.records and not self.out.runs and self.mark is None

    def close(self, at: Moment) -> Pending:
        """End the batch."""
        out, memory = self.out, self.memory
        position = self._position(memory.state.live_after(out.runs), out.stream_time)
        return Pending(position, self._apply, partial(self._report, at))

    @property
    def lacks_payloads(self) -> bool:
        """Whether anything but an event of its own changed a run."""
        return bool(self.out.causes)

    async def recall(self) -> None:
        """Load the payloads of runs that anything but an event of their own changed."""
        runs = (self.out.runs[run_id] for run_id in self.out.causes)
        await self.memory.keeper.recall(run.payload for run in runs if run is not None and run.payload > IN_HAND)

    def _apply(self) -> None:
        self.memory.state.merge(self.out)
        self.memory.keeper.tend(self._wall_ms)
        self.memory.seen_at = self._seen_at
        if self.mark is not None:
            self.memory.beacon.sent(self.mark)

    def _report(self, at: Moment, duration_s: float, latency_s: float) -> CommitReport:
        return FoldReport(
            source=self.source,
            records=self.records,
            duration_s=duration_s,
            latency_s=latency_s,
            rejected=self._rejected,
            samples=self._samples,
            offset=self.next_offset,
            alerts=count_alerts(self.out.alerts),
            tally=self.out.tally,
            forgotten=len(self.out.forgotten),
            seen_at=at.wall_ms if self.records else 0,
        )

    def is_twofold(self, run_id: str, other: int) -> None:
        """Count a run that was opened here and also lives on the partition `other`."""
        run = self.out.runs.get(run_id)
        self.out.tally.is_twofold(First(run_id, self.next_offset - 1 if run is None else run.offset), other)
