"""The window stage: measurements in; RunMetrics, failure-rate and silence alerts, and its own state out. No I/O."""

from collections.abc import Mapping, Sequence

from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.arrival import Arrival, instant, latest
from streamproc.codec.encode import OutputSource
from streamproc.codec.measurements import MeasurementBatch, decode_measurements
from streamproc.codec.message import Messages
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames
from streamproc.codec.windows import WindowEncoder, decode_window_states
from streamproc.core.model import Moment
from streamproc.core.windows import absorb, begin_windows, finish
from streamproc.core.windowstate import WindowRules, WindowState
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.observer import CommitReport, WindowReport, count_alerts
from streamproc.runtime.oversized import set_apart
from streamproc.runtime.ports import Outputs, TopicPartition
from streamproc.runtime.position import Position
from streamproc.runtime.restore import KeyOrigins
from streamproc.runtime.stage import Absorbed, Allows, Batch, Pending, SizeLimits, TooMany, here

COMMIT_INTERVAL_S = 1.0
"""Windows close after tens of seconds: fewer commits cost less and make nobody wait."""
MAX_RECORDS_PER_COMMIT = 10_000
MAX_CHANGES_PER_COMMIT = 2_000
"""Encoded in one go: well under 100 ms of CPU."""


class WindowStage:
    """How the measurements are summed. `topics` with their prefix."""

    every_s = COMMIT_INTERVAL_S

    def __init__(
        self,
        rules: WindowRules,
        topics: TopicSettings,
        profile: str,
        application_id: str,
        frames: Frames = SINGLE_OBJECTS,
        limits: SizeLimits = SizeLimits(),  # noqa: B008  it cannot be changed
    ) -> None:
        self.rules = rules
        self.topics = topics
        self.topic = topics.measurements
        self.state_topic = topics.windows
        self.profile = profile
        self.partitions = rules.sources
        self.limits = limits
        self._application_id = application_id
        self._frames = frames
        self._encoders: dict[int, WindowEncoder] = {}
        self._alerts = AlertEncoder(application_id, frames)

    def fresh(self, partition: int, stream_time: int) -> "WindowMemory":
        """Return what a partition remembers that begins anew."""
        return WindowMemory(self, partition, WindowState(self.rules, stream_time))

    def decode(self, brought: Mapping[int, Sequence[Arrival]]) -> Mapping[int, MeasurementBatch]:
        """Decode records by partition; what is too large is among the rejections."""
        return {partition: self.measured(records) for partition, records in brought.items()}

    def measured(self, records: Sequence[Arrival]) -> MeasurementBatch:
        """Decode records of one partition."""
        apart = set_apart(records, self.limits.record_bytes)
        batch = decode_measurements(apart.fitting)
        return batch._replace(rejections=apart.among(batch.rejections))

    def encode(self, batches: Sequence["WindowBatch"], at: Moment) -> Outputs:
        """Return what closed batches send."""
        outputs: dict[TopicPartition, Messages] = {}
        for batch in batches:
            out, encoder = batch.out, self._encoder(batch.partition)
            alerts = self._alerts.messages(out.alerts, at.wall_ms) if out.alerts else []
            by_topic: dict[str, Messages] = {
                self.topics.metrics: encoder.metrics(out.closings, at.wall_ms),
                self.topics.windows: encoder.states(out.changed, batch.next_offset - 1, batch.sequence, at.wall_ms),
                self.topics.alerts: alerts,
                self.topics.dead_letters: batch.dead_letters,
            }
            outputs.update(here(batch.source, by_topic))
        return outputs

    def _encoder(self, partition: int) -> WindowEncoder:
        if partition not in self._encoders:
            self._encoders[partition] = WindowEncoder(
                OutputSource(self._application_id, self.topic, partition), self._frames
            )
        return self._encoders[partition]


class WindowMemory:
    """What one partition of the measurements remembers."""

    keeper = None

    def __init__(self, stage: WindowStage, partition: int, state: WindowState) -> None:
        self.stage = stage
        self.partition = partition
        self.state = state

    def load(self, records: Sequence[Arrival]) -> KeyOrigins:
        """Put records of run-windows into the state."""
        values = decode_window_states(latest(records))
        for key, value, _ in values:
            if value is None:
                self.state.values.pop(key, None)
            else:
                self.state.values[key] = value
        return KeyOrigins([key for key, _, _ in values], [offset for _, _, offset in values])

    def begin(self, position: Position, allows: Allows | None) -> "WindowBatch":
        """Return a new batch on top of the state."""
        return WindowBatch(self, position, allows)


class WindowBatch(Batch):
    """One partition's part of a commit."""

    def __init__(self, memory: WindowMemory, position: Position, allows: Allows | None) -> None:
        source = TopicPartition(memory.stage.topic, memory.partition)
        super().__init__(source, position, memory.stage.limits.letter_bytes, allows)
        self.partition = memory.partition
        self.sequence = position.sequence + 1
        self.out = begin_windows(memory.state)
        self._memory = memory

    def absorb(self, records: Sequence[Arrival], decoded: MeasurementBatch, at: Moment) -> Absorbed:
        """Add measurements and marks, up to one that may not be rejected yet."""
        over = self._over_limit(decoded.rejections)
        taken = records if over is None else [each for each in records if each.offset < over.record.offset]
        measured = decoded if over is None else self._memory.stage.measured(taken)
        absorb(self._memory.state, measured.arrivals, self.out)
        self._took(taken, measured.rejections, at)
        if over is None:
            return Absorbed(len(taken))
        self.last_timestamp = instant(over.record.timestamp, at.wall_ms)
        return Absorbed(len(taken), TooMany(over.reason))

    def pass_time(self, at: Moment, *, heard: bool, read_all: bool) -> None:  # noqa: ARG002  the marks bring the time
        """Finish what the marks began; the stream's silence is the business of partition 0 (rules.md 20)."""
        finish(self._memory.state, self.out, watches_silence=self.partition == 0)

    def settle(self) -> None:
        """Take note of what was looked at in vain."""
        self._memory.state.settle(self.out)

    @property
    def load(self) -> float:
        """How much of what one commit may hold is in here."""
        records, changed = self.records / MAX_RECORDS_PER_COMMIT, len(self.out.changed) / MAX_CHANGES_PER_COMMIT
        return max(self._bytes_load, records, changed)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.records and not self.out.changed and not self.out.closings

    def close(self, at: Moment) -> Pending:  # noqa: ARG002  the marks bring the time
        """End the batch."""
        position = self._position(self._memory.state.live_after(self.out.changed), self.out.watermark)
        return Pending(position, self._apply, self._report)

    def _apply(self) -> None:
        self._memory.state.merge(self.out)

    def _report(self, duration_s: float, latency_s: float) -> CommitReport:
        out = self.out
        closed = sum(closing.revision == 0 for closing in out.closings)
        return WindowReport(
            source=self.source,
            records=self.records,
            duration_s=duration_s,
            latency_s=latency_s,
            rejected=self._rejected,
            samples=self._samples,
            offset=self.next_offset,
            alerts=count_alerts(out.alerts),
            closed=closed,
            revised=len(out.closings) - closed,
            late=out.late,
            dropped=out.dropped,
            watermark=out.watermark,
            unjudged=out.unjudged,
        )
