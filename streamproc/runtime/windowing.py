"""The window stage: measurements in; RunMetrics, failure-rate and silence alerts, and its own state out. No I/O."""

from collections.abc import Sequence

from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.arrival import Arrival, instant
from streamproc.codec.encode import Source
from streamproc.codec.measurements import decode_measurements
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames
from streamproc.codec.windows import WindowEncoder, decode_window_states
from streamproc.core.model import Moment
from streamproc.core.windows import absorb, begin_windows, finish
from streamproc.core.windowstate import WindowRules, WindowState
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.observer import CommitReport, WindowReport, count_alerts
from streamproc.runtime.oversized import set_apart
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.position import Position
from streamproc.runtime.restore import Sources
from streamproc.runtime.stage import Batch, Limits, Pending

COMMIT_INTERVAL_S = 1.0
"""Windows close after tens of seconds: fewer commits cost less and make nobody wait."""
MAX_RECORDS_PER_COMMIT = 10_000
MAX_CHANGES_PER_COMMIT = 2_000
"""Encoded in one go: well under 100 ms of CPU."""


class WindowStage:
    """How the measurements of one partition are summed. `topics` with their prefix."""

    interval_s = linger_s = COMMIT_INTERVAL_S

    def __init__(
        self,
        rules: WindowRules,
        topics: TopicSettings,
        profile: str,
        source: Source,
        frames: Frames = SINGLE_OBJECTS,
        limits: Limits = Limits(),  # noqa: B008  it cannot be changed
    ) -> None:
        self.rules = rules
        self.limits = limits
        self.topics = topics
        self.profile = profile
        self.source = source
        self.partitions = rules.sources
        self.state_topic = topics.windows
        self.encoder = WindowEncoder(source, frames)
        self.alerts = AlertEncoder(source.application_id, frames)

    def fresh(self, stream_time: int) -> WindowState:
        """Return an empty state."""
        return WindowState(self.rules, stream_time)

    def load(self, state: WindowState, records: Sequence[Arrival]) -> Sources:
        """Put records of run-windows into `state`."""
        found = decode_window_states(records)
        for key, value, _ in found:
            if value is None:
                state.values.pop(key, None)
            else:
                state.values[key] = value
        return [(key, offset) for key, _, offset in found]

    def begin(self, state: WindowState, position: Position) -> "WindowBatch":
        """Return a new commit on top of `state`."""
        return WindowBatch(self, state, position)


class WindowBatch(Batch):
    """One commit of the window stage."""

    def __init__(self, stage: WindowStage, state: WindowState, position: Position) -> None:
        super().__init__(stage.source, position, stage.limits.letter_bytes)
        self._stage = stage
        self._state = state
        self._out = begin_windows(state)

    def absorb(self, records: Sequence[Arrival], at: Moment) -> None:
        """Add measurements and marks that follow on what was absorbed, up to one that is `held`."""
        apart = set_apart(records, self._stage.limits.record_bytes)
        measured = decode_measurements(apart.fitting)
        rejections = apart.among(measured.rejections)
        if over := self._over_limit(rejections):
            self.held, held_at = over.reason, over.record.offset
            records = [record for record in records if record.offset < held_at]
            rejections = [rejection for rejection in rejections if rejection.record.offset < held_at]
            measured = decode_measurements([record for record in apart.fitting if record.offset < held_at])
        absorb(self._state, measured.arrivals, self._out)
        self._took(records, rejections, at)
        if over:
            self.last_timestamp = instant(over.record.timestamp, at.wall_ms)

    def pass_time(self, at: Moment, *, read_all: bool) -> None:  # noqa: ARG002  the marks bring the time
        """Finish what the marks began; the stream's silence is the business of partition 0 (rules.md 20)."""
        finish(self._state, self._out, watches_silence=self._stage.source.partition == 0)

    def settle(self) -> None:
        """Take note of what was looked at in vain."""
        self._state.settle(self._out)

    @property
    def is_full(self) -> bool:
        """Whether it should be committed, though more is at hand."""
        return (
            self._is_large or self.records >= MAX_RECORDS_PER_COMMIT or len(self._out.changed) >= MAX_CHANGES_PER_COMMIT
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.records and not self._out.changed and not self._out.closings

    def close(self, at: Moment) -> Pending:
        """Return the commit."""
        out, stage, topics = self._out, self._stage, self._stage.topics
        position = self._position(self._state.live_after(out.changed), out.watermark)
        by_topic = {
            topics.metrics: stage.encoder.metrics(out.closings, at.wall_ms),
            topics.windows: stage.encoder.states(out.changed, position.offset - 1, position.sequence, at.wall_ms),
            topics.alerts: stage.alerts.messages(out.alerts, at.wall_ms),
            topics.dead_letters: self._dead_letters,
        }
        return Pending(self._here(by_topic), position, self._apply, self._report)

    def _apply(self) -> None:
        self._state.merge(self._out)

    def _report(self, duration_s: float, latency_s: float) -> CommitReport:
        out = self._out
        closed = sum(closing.revision == 0 for closing in out.closings)
        return WindowReport(
            source=TopicPartition(self._stage.source.topic, self._stage.source.partition),
            records=self.records,
            duration_s=duration_s,
            latency_s=latency_s,
            rejected=self._rejected,
            samples=self._samples,
            alerts=count_alerts(out.alerts),
            closed=closed,
            revised=len(out.closings) - closed,
            late=out.late,
            dropped=out.dropped,
            watermark=out.watermark,
        )
