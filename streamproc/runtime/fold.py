"""The fold stage: run events in; states, transitions, alerts, dead letters and measurements out. No I/O."""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct

from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.arrival import Arrival, instant
from streamproc.codec.book import SchemaBook
from streamproc.codec.deadletter import ANY_SIZE
from streamproc.codec.decode import Decoded, decode
from streamproc.codec.encode import Message, OutputEncoder, Source
from streamproc.codec.measurements import Folded, MeasurementEncoder
from streamproc.codec.runstate import decode_runs
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames
from streamproc.core.beacon import Beacon
from streamproc.core.measure import Mark
from streamproc.core.model import Moment
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.runtime.config import CommitSettings, TopicSettings
from streamproc.runtime.observer import CommitReport, FoldReport, count_alerts
from streamproc.runtime.oversized import set_apart
from streamproc.runtime.ports import Outputs, TopicPartition
from streamproc.runtime.position import Position
from streamproc.runtime.restore import Sources
from streamproc.runtime.stage import Batch, Pending

MAX_SPOKEN_PER_COMMIT = 2_000
"""Alerts and measurements, which are encoded one by one: well under 100 ms of CPU."""


class FoldSettings(Struct, frozen=True):
    """What the fold of every partition has in common. `topics` with their prefix; `partition_of`: see the ports."""

    topics: TopicSettings
    rules: Rules
    book: SchemaBook
    commit: CommitSettings
    max_record_bytes: int
    partition_of: Callable[[bytes, int], int]
    frames: Frames = SINGLE_OBJECTS
    letter_bytes: int = ANY_SIZE
    """What the dead-letter topic admits."""


class FoldStage:
    """How the records of one input partition are folded.

    `count_elsewhere` tells how many of some newly opened runs live on another partition.
    """

    linger_s = 0.0

    def __init__(
        self,
        settings: FoldSettings,
        source: Source,
        partitions: int,
        count_elsewhere: Callable[[Sequence[str]], int] = lambda _: 0,
    ) -> None:
        self.settings = settings
        self.source = source
        self.partitions = partitions
        self.profile = settings.rules.profile.name
        self.state_topic = settings.topics.state
        self.interval_s = settings.commit.interval_ms / 1000
        self.count_elsewhere = count_elsewhere
        self.outputs = OutputEncoder(source, settings.frames)
        self.alerts = AlertEncoder(source.application_id, settings.frames)
        self.measurements = MeasurementEncoder(
            source.application_id, source.topic, partitions, settings.partition_of, settings.max_record_bytes
        )
        self.beacon = Beacon(source.partition)
        self.seen_at = 0

    def fresh(self, stream_time: int) -> State:
        """Return an empty state; whatever this instance knew of the partition no longer counts."""
        self.beacon.forget()
        self.seen_at = 0
        return State(self.settings.rules, stream_time)

    def load(self, state: State, records: Sequence[Arrival]) -> Sources:
        """Put records of run-state into `state`."""
        found = decode_runs(records)
        for run_id, run in found:
            if run is None:
                state.remove(run_id)
            else:
                state.put(run)
        return [(run_id, -1 if run is None else run.offset) for run_id, run in found]

    def begin(self, state: State, position: Position) -> "FoldBatch":
        """Return a new commit on top of `state`."""
        return FoldBatch(self, state, position)


class FoldBatch(Batch):
    """One commit of the fold stage."""

    def __init__(self, stage: FoldStage, state: State, position: Position) -> None:
        super().__init__(stage.source, position, stage.settings.letter_bytes)
        self._stage = stage
        self._state = state
        self._out = begin(state)
        self._transitions: list[Message] = []
        self._seen_at = stage.seen_at
        self._mark: Mark | None = None

    def absorb(self, records: Sequence[Arrival], at: Moment) -> None:
        """Decode and fold records that follow on what was absorbed, up to one that is `held` or lacks a schema."""
        stage, out = self._stage, self._out
        decoded = _decode(records, stage.settings)
        if over := self._over_limit(decoded.rejections):
            self.held = over.reason
            decoded = decoded.before(over.record.offset)
        step(self._state, decoded.events, at, out)
        self._transitions += stage.outputs.transitions(out.transitions, at.wall_ms)
        out.transitions.clear()
        self.missing = decoded.missing
        self._took(records[: decoded.taken], decoded.rejections, at)
        if decoded.missing or self.held:
            self.last_timestamp = instant(records[decoded.taken].timestamp, at.wall_ms)
        self._seen_at = at.wall_ms

    def pass_time(self, at: Moment, *, read_all: bool) -> None:
        """Let the clock do its part: deadlines, retention, and a mark for the windows."""
        out = pass_time(self._state, at, self._out)
        if not self.heard(at):
            return  # No answer, or an open transaction: what was known before does not tell of the time since.
        # Bad records, and times that are not believed, keep a partition from falling idle and move no time: it must not
        # hold back the windows of all the others.
        stands_still = read_all and out.stream_time == self._state.stream_time
        self._mark = self._stage.beacon.due(
            out.stream_time, idle=at.caught_up or stands_still, seen_at=self._seen_at, wall_ms=at.wall_ms
        )

    def settle(self) -> None:
        """Take note of which runs were looked at in vain."""
        self._state.settle()

    @property
    def is_full(self) -> bool:
        """Whether it should be committed, though more is at hand."""
        out = self._out
        spoken = len(out.alerts) + len(out.tally.cells)
        return (
            self._is_large or self.records >= self._stage.settings.commit.max_records or spoken >= MAX_SPOKEN_PER_COMMIT
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.records and not self._out.runs and self._mark is None

    def close(self, at: Moment) -> Pending:
        """Return the commit."""
        out, stage = self._out, self._stage
        elsewhere = stage.count_elsewhere(out.tally.opened)
        if elsewhere:
            out.tally.anomalies["two_partitions"] += elsewhere
        position = self._position(self._state.live_after(out.runs), out.stream_time)
        outputs = {**self._local(at, position.sequence), **self._spread(at, position.sequence)}
        return Pending(outputs, position, self._apply, partial(self._report, at))

    def _local(self, at: Moment, sequence: int) -> Outputs:
        """Return what stays on the input's partition number (rules.md 2)."""
        out, stage, topics = self._out, self._stage, self._stage.settings.topics
        changed = [run for run in out.runs.values() if run is not None]
        states = stage.outputs.states(changed, at.wall_ms, out.causes, sequence)
        states += stage.outputs.tombstones(out.forgotten, out.now, sequence, at.wall_ms)
        by_topic = {
            topics.transitions: self._transitions,
            topics.state: states,
            topics.alerts: stage.alerts.messages(out.alerts, at.wall_ms, stage.source),
            topics.dead_letters: self._dead_letters,
        }
        return self._here(by_topic)

    def folded(self, sequence: int) -> Folded:
        """Return what the windows are to be told with the commit of that sequence."""
        return Folded(self._stage.source.partition, sequence, self._out.tally.cells, self._mark)

    def _spread(self, at: Moment, sequence: int) -> Outputs:
        """Return what goes to the windows."""
        stage, topic = self._stage, self._stage.settings.topics.measurements
        spread = stage.measurements.messages([self.folded(sequence)], at.wall_ms)
        return {TopicPartition(topic, number): messages for number, messages in spread.items()}

    def _apply(self) -> None:
        self._state.merge(self._out.runs, self._out.stream_time)
        self._stage.seen_at = self._seen_at
        if self._mark is not None:
            self._stage.beacon.sent(self._mark)

    def _report(self, at: Moment, duration_s: float, latency_s: float) -> CommitReport:
        return FoldReport(
            source=TopicPartition(self._stage.source.topic, self._stage.source.partition),
            records=self.records,
            duration_s=duration_s,
            latency_s=latency_s,
            rejected=self._rejected,
            samples=self._samples,
            alerts=count_alerts(self._out.alerts),
            tally=self._out.tally,
            forgotten=len(self._out.forgotten),
            seen_at=at.wall_ms if self.records else 0,
        )


def _decode(records: Sequence[Arrival], settings: FoldSettings) -> Decoded:
    """Decode a batch; what is too large is among the rejections."""
    apart = set_apart(records, settings.max_record_bytes)
    decoded = decode(apart.fitting, settings.book)
    if not apart.oversized:
        return decoded
    found = Decoded(decoded.events, apart.among(decoded.rejections), len(records), decoded.missing)
    if not decoded.missing:
        return found
    return found.before(apart.fitting[decoded.taken].offset)._replace(missing=decoded.missing)
