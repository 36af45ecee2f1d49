"""Metrics of a service at work, one commit after the other, through the real core; and of a console at work."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from streamproc.console.intake import Intake
from streamproc.console.metrics import MeasuredParts, Metrics
from streamproc.console.model.database import RebuildCause
from streamproc.console.replays import ReplayOutcome
from streamproc.console.status import FollowerStatus
from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.core.windowstate import Dropped, WindowOutcome, WindowRules, WindowState
from streamproc.errors import RejectionReason
from streamproc.notify.observer import DeliveryResult, Receiver
from streamproc.runtime.config import StateSettings, TopicSettings
from streamproc.runtime.observer import FoldReport, StageState, WindowReport, count_alerts
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState
from tests.support.events import START_MS, event
from tests.support.readmodel import database
from tests.support.watched import watched_metrics

EVENTS = TopicPartition("run-events", 0)
STATE = TopicPartition("run-state", 0)
MEASUREMENTS = TopicPartition("run-measurements", 0)
RESTORED = TopicPartition("run-events", 1)
ENDS = ("completed", "completed", "completed", "failed", "cancelled", "expired", "incomplete")
LIMITS = dict.fromkeys(ASSISTANTS.documented, 1_000)


class Exposed:
    """The observer, and the service that it believes to watch."""

    def __init__(self) -> None:
        self.metrics = watched_metrics(ASSISTANTS, requests={"Fetch": 3}, state=StateSettings(directory="/state"))
        self.metrics.rebalanced(frozenset((EVENTS, MEASUREMENTS, RESTORED)))
        self._rules = Rules(ASSISTANTS, Retention(1_000, 604_800_000), Deadlines(allowance_ms=0, limits=LIMITS))
        self._state = State(self._rules)
        self._numbers = count()
        self._start(EVENTS, self._state)
        self._windows = WindowState(WindowRules(sources=1, stream=EVENTS.topic))
        self._start(MEASUREMENTS, self._windows)
        self.metrics.task_state(RESTORED, TaskState.RESTORING)
        self.metrics.restoring(RESTORED, 4_000)

    def work(self) -> None:
        """Let every figure move that there is."""
        now = _now_ms()
        metrics, at, out = self.metrics, Moment(now, caught_up=True), begin(self._state)
        pass_time(self._state, at, step(self._state, [*self._events(now)], at, out))
        self._state.merge(out)
        self._state.snapshot_ms = now - 20_000
        self._windows.merge(replace(WindowOutcome.on(self._windows), watermark=now - 30_000))
        metrics.committed(
            FoldReport(
                source=EVENTS,
                records=100,
                duration_s=0.04,
                latency_s=0.2,
                rejected=Counter({RejectionReason.UNKNOWN_SCHEMA: 2, RejectionReason.BAD_STATUS: 1}),
                alerts=count_alerts(out.alerts),
                tally=out.tally,
                forgotten=len(out.forgotten),
                seen_at=now,
            )
        )
        metrics.committed(
            WindowReport(
                source=MEASUREMENTS,
                records=5,
                duration_s=1.0,
                latency_s=1.0,
                closed=3,
                revised=2,
                late=2,
                dropped={Dropped.LATE: 1, Dropped.OLD: 1},
                watermark=now - 30_000,
                unjudged={"failure_rate": 1},
            )
        )
        metrics.lag(EVENTS, 20, 0.5)
        metrics.lag(MEASUREMENTS, 2, 0.1)
        metrics.transacted(2, 1.0)
        metrics.transaction_failed([EVENTS], "BrokerUnavailable")
        metrics.push.sent(Receiver.ALERTMANAGER, DeliveryResult.DELIVERED, 2)
        metrics.push.sent(Receiver.WEBHOOK, DeliveryResult.FAILED, 1)
        metrics.push.waiting(Receiver.WEBHOOK, 1)

    def _start(self, source: TopicPartition, kept: StageState) -> None:
        self.metrics.task_state(source, TaskState.RUNNING)
        self.metrics.running(source, kept)

    def _events(self, now: int) -> Iterator[RunEvent]:
        """Yield runs of all ends and some that do not end, an illegal end, an unknown status."""
        for status in ("queued", "in_progress", "requires_action", "cancelling", "paused"):
            yield self._event(now, f"run_left_{status}", status, created_at=now // 1000 - 60)
        for end in ENDS:
            run, seconds = f"run_{next(self._numbers)}", now // 1000
            fields = {"created_at": seconds - 20, "assistant_id": f"asst_{end}", "usage": (70, 30, 100)}
            yield self._event(now, run, "queued", **fields)
            fields["started_at"] = seconds - 10
            for status in ("in_progress", "requires_action", "queued", "in_progress"):
                yield self._event(now, run, status, **fields)
            if end in ASSISTANTS.ended_by:
                fields[ASSISTANTS.ended_by[end]] = seconds
            yield self._event(now, run, end, **fields)
            yield self._event(now, run, "failed" if end == "completed" else "completed", **fields)

    def _event(self, now: int, run: str, status: str, **fields: object) -> RunEvent:
        return event(status, run=run, at=now - START_MS, offset=next(self._numbers), **fields)


class ExposedConsole:
    """A console's metrics, and what they watch, in a directory; close it."""

    def __init__(self, directory: Path) -> None:
        self._standing, self._intake = FollowerStatus(), Intake(TopicSettings())
        self._database, self._pool = database(directory), ThreadPoolExecutor(1)
        self._replays: Counter[ReplayOutcome] = Counter()
        watched = MeasuredParts(self._standing, self._database, self._pool, self._intake, lambda: 2, self._replays)
        self.metrics = Metrics(watched, ASSISTANTS.name)

    def work(self) -> None:
        """Let every figure move that there is."""
        self._standing.read({STATE: 100}, 100)
        self._standing.lags({STATE: 20}, is_complete=True)
        self._standing.skipped[STATE.topic] += 1
        self._database.rebuilds[RebuildCause.DAMAGED] += 1
        self._database.interrupted += 1
        self._replays[ReplayOutcome.SENT] += 1
        for status in (200, 404, 503):
            self.metrics.requested("/runs", status, 0.02)

    def close(self) -> None:
        """Let go of the directory."""
        self._pool.shutdown()
        self._database.close()


def _now_ms() -> int:
    return int(time.time() * 1000)
