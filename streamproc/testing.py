"""Public: the whole pipeline in memory, to test what streamproc makes of your events. No Kafka, no clock, no threads.

    pipeline = Pipeline(settings={"deadlines": {"limits_s": {"queued": 60}}})
    pipeline.send({"id": "run_1", "status": "queued"})
    pipeline.advance(61)
    assert [alert.kind for alert in pipeline.firing] == ["stuck_queued"]

It is the service's own code from decoding to encoding, on one partition. What is public here keeps its meaning until
the next major version.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from streamproc.codec import runstate
from streamproc.codec.arrival import Arrival
from streamproc.codec.message import Message
from streamproc.codec.schemas import unframe
from streamproc.core.model import Moment
from streamproc.errors import ConfigError
from streamproc.events import EventInvalid, encode_json
from streamproc.runtime.fold import FoldSettings
from streamproc.runtime.ports import Outputs
from streamproc.runtime.position import Position
from streamproc.runtime.stage import PartitionMemory, SizeLimits, Stage
from streamproc.runtime.stages import stages
from streamproc.settings.loading import load_settings
from streamproc.settings.profiles import book_of
from streamproc.settings.service import Settings
from streamproc.store.store import ALONE

__all__ = ["Alert", "ConfigError", "DeadLetter", "EventInvalid", "Pipeline", "State", "Transition", "Verdict", "Window"]

START = datetime(2024, 6, 1, tzinfo=UTC)
R = TypeVar("R", bound=msgspec.Struct)


class Transition(msgspec.Struct, frozen=True):
    """A run came to another status. Times in milliseconds; `in_from_ms`: how long it was in `from_status`."""

    run_id: str
    from_status: str | None
    to_status: str
    occurred_at: int
    in_from_ms: int | None
    expected: bool
    outcome: str | None
    error_code: str | None
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    source_offset: int


class State(msgspec.Struct, frozen=True):
    """The latest state of a run. `status_since` in milliseconds, the run's own times in Unix seconds."""

    run_id: str
    status: str
    status_since: int
    transitions: int
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    created_at: int | None
    started_at: int | None
    expires_at: int | None
    ended_at: int | None
    error_code: str | None
    usage: dict[str, Any] | None
    alerts: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """An event that changed no status: `verdict` is applied, duplicate, stale or illegal, `reason` says why."""

    run_id: str
    verdict: str
    status_before: str
    status_said: str
    reason: str
    source_offset: int


class Alert(msgspec.Struct, frozen=True):
    """A condition that fires or resolves. `since`, `deadline_at`, `ends_at`: milliseconds.

    `ends_at`: when it ended; of a firing one, when it ends by itself.
    """

    alert_id: str
    kind: str
    severity: str
    state: str
    summary: str
    since: int
    deadline_at: int | None
    run_id: str | None
    assistant_id: str | None
    model: str | None
    status: str | None
    ends_at: int | None


class Window(msgspec.Struct, frozen=True):
    """What happened in a window of time to the runs of one assistant and model; a later revision replaces it."""

    window_start: int
    window_end: int
    revision: int
    assistant_id: str | None
    model: str | None
    created: int
    ended: dict[str, int]
    errors: dict[str, int]
    transitions: dict[str, int]
    tokens: dict[str, int]
    late: int


class DeadLetter(NamedTuple):
    """A record that was rejected: `reason` is one word of a closed set, `message` says what is wrong."""

    reason: str
    message: str
    key: bytes | None
    value: bytes | None


class _StageRecord(NamedTuple):
    """A record on its way from one stage to the next."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Pipeline:
    """Takes events one by one; the outputs are complete when `send` or `advance` returns.

    `settings`: as in a TOML file, by section; they override those of the TOML file `config`. The environment is
    ignored. The clock begins at `start`, and moves only by `advance`. Raises ConfigError for an invalid setting.
    """

    def __init__(
        self, settings: Mapping[str, Any] | None = None, *, config: Path | None = None, start: datetime = START
    ) -> None:
        self._settings = load_settings(config, settings or {})
        self.now = start
        """The clock."""
        self.transitions: list[Transition] = []
        self.states: dict[str, State] = {}
        """By run id, without those that are forgotten."""
        self.verdicts: list[Verdict] = []
        self.alerts: list[Alert] = []
        self.windows: list[Window] = []
        self.dead_letters: list[DeadLetter] = []
        self._topics = self._settings.topic_names
        made = stages(_fold(self._settings), self._settings.window_rules())
        self._stages = [_OnlyPartition(stage) for stage in made(1, SizeLimits(), ALONE)]

    @property
    def firing(self) -> list[Alert]:
        """Return the alerts that fire now."""
        latest = {alert.alert_id: alert for alert in self.alerts}
        return [alert for alert in latest.values() if alert.state == "firing" and not self._is_over(alert)]

    def _is_over(self, alert: Alert) -> bool:
        return alert.ends_at is not None and alert.ends_at <= self._now_ms

    def send(self, run: Mapping[str, Any] | bytes, *, at: datetime | None = None) -> None:
        """Take one event, as the service reads it from run-events.

        `run`: an object, which is sent as JSON, or the bytes of a record in any framing. `at`: the record's timestamp,
        now by default. Raises EventInvalid for an object that is no JSON.
        """
        value = run if isinstance(run, bytes) else encode_json(run)
        timestamp = self._now_ms if at is None else _ms(at)
        self._stages[0].waiting.append((None, value, timestamp, []))
        self._process()

    def advance(self, seconds: float) -> None:
        """Let time pass with nothing to read: deadlines fire, windows close, runs are forgotten."""
        self.now += timedelta(seconds=seconds)
        self._process()

    @property
    def _now_ms(self) -> int:
        return _ms(self.now)

    def _process(self) -> None:
        """Commit until no stage has any more outputs."""
        while sum(self._commit(stage) for stage in self._stages):  # A sum, not any(): both stages must commit.
            pass

    def _commit(self, partition: "_OnlyPartition") -> bool:
        outputs = partition.commit(self._now_ms)
        for place, messages in (outputs or {}).items():
            for message in messages:
                self._take(place.topic, message)
        return outputs is not None

    def _take(self, topic: str, message: Message) -> None:
        topics, (key, value, *_) = self._topics, message
        record = _StageRecord(0, message[2], key, value, message[3])
        if topic == topics.transitions:
            self.transitions.append(_read(record, Transition, ("run_transition",)))
        elif topic == topics.verdicts:
            self.verdicts.append(_read(record, Verdict, ("run_verdict",)))
        elif topic == topics.alerts:
            self.alerts.append(_read(record, Alert, ("run_alert",)))
        elif topic == topics.metrics:
            self.windows.append(_read(record, Window, ("run_metrics",)))
        elif topic == topics.dead_letters:
            self.dead_letters.append(_letter(record))
        elif topic == topics.measurements:
            self._stages[1].waiting.append(message)
        elif topic == topics.state:
            self._remember(record)

    def _remember(self, record: _StageRecord) -> None:
        run_id = (record.key or b"").decode()
        if record.value is None:
            self.states.pop(run_id, None)
        else:
            self.states[run_id] = _read(record, State, runstate.VERSIONS)


class _OnlyPartition:
    """The only partition of a stage: its state, its offset, and the records still to be read."""

    def __init__(self, stage: Stage[Any]) -> None:
        self.waiting: list[Message] = []
        self._stage = stage
        self._memory: PartitionMemory[Any] = stage.fresh(0, 0)
        self._memory.state.arm()
        self._position = Position(0, 0, 0, 0, 1, stage.profile)

    def commit(self, now_ms: int) -> Outputs | None:
        """Process all waiting records and the passing of time; return the outputs, None where there are none."""
        first = self._position.offset
        records: list[Arrival] = [
            _StageRecord(first + number, timestamp, key, value, headers)
            for number, (key, value, timestamp, headers) in enumerate(self.waiting)
        ]
        self.waiting = []
        batch = self._memory.begin(self._position, None)
        if records:
            batch.absorb(records, self._stage.decode({0: records})[0], Moment(now_ms, caught_up=False))
        at = Moment(now_ms, caught_up=True)
        batch.pass_time(at, heard=True, read_all=True)
        if batch.is_empty:
            batch.settle()
            return None
        pending = batch.close(at)
        outputs = self._stage.encode([batch], at)
        self._position = pending.position
        pending.apply()
        return outputs


def _fold(settings: Settings) -> FoldSettings:
    return FoldSettings(
        application_id=settings.application_id,
        topics=settings.topic_names,
        rules=settings.rules(),
        book=book_of(settings.life_cycle, json=settings.input.takes_json),
        commit=settings.commit,
        partition_of=lambda _key, _count: 0,
    )


def _read(record: _StageRecord, kind: type[R], versions: Sequence[str]) -> R:
    return msgspec.convert(unframe(record, versions, kind.__name__), kind)


def _letter(record: _StageRecord) -> DeadLetter:
    headers = dict(record.headers)
    return DeadLetter(
        headers["streamproc.error.reason"].decode(),
        headers["streamproc.error.message"].decode(),
        record.key,
        record.value,
    )


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
