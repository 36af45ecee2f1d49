"""The service's log lines about its partitions: what an operator reads first when something is wrong."""

import time
from collections.abc import Callable, Collection, Mapping

import structlog

from streamproc.codec.arrival import Rejection
from streamproc.core.model import EventFlag
from streamproc.core.tally import KEY_ABSENT, KEY_MISMATCH, TWO_PARTITIONS, UNKNOWN_STATUS, Anomaly
from streamproc.errors import RejectionReason
from streamproc.escaping import escaped
from streamproc.observe.places import by_topic
from streamproc.runtime.observer import CommitReport, FoldReport, Observer, Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState
from streamproc.spelling import meant
from streamproc.throttle import Throttle

ODD_EVENTS = f"{__name__}.odd"
"""Name of the logger of odd events, so that whoever sends them on purpose can silence it."""
_log, _odd_log = structlog.get_logger(__name__), structlog.get_logger(ODD_EVENTS)
REJECTIONS_EVERY_S = 10.0
"""At most one line for each partition and reason in this time; it counts the rejections since the last line."""
MAX_SHOWN_BYTES = 256
MAX_ODD = 100
"""How many unknown statuses are logged, each once; the other kinds are few."""
ADVICE: Mapping[Anomaly, str] = {
    KEY_ABSENT: "key events by their run or thread: else those of one run may go to several partitions, and become "
    "several runs",
    KEY_MISMATCH: "key events by their run or thread, unless your key keeps those of one run on one partition",
    TWO_PARTITIONS: "its events went to several partitions and became several runs: key them by their run or thread",
    EventFlag.TIME_UNREADABLE: "a time is neither seconds since 1970 nor ISO 8601: where it is milliseconds, set the "
    "profile's time_unit",
    UNKNOWN_STATUS: "it counts as active, so a run in it does not end: map it by STREAMPROC_INPUT__STATUSES, name it "
    "in a profile of your own, or have its events rejected by STREAMPROC_INPUT__UNKNOWN_STATUSES=reject",
}
"""Advice about events that were processed, but are probably a mistake."""


class Journal(Observer):
    """Logs what changes: assignments, task states, pauses, rejections, failed transactions.

    Of an event's content it logs at most the run's id, and a status that the profile does not know; with `payloads`,
    also the first bytes of a rejected record, in hexadecimal.
    """

    def __init__(
        self, *, payloads: bool = False, statuses: Collection[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`statuses`: those of the profile."""
        self._payloads = payloads
        self._statuses = statuses
        self._odd: set[tuple[Anomaly, str]] = set()
        self._pauses: dict[TopicPartition, tuple[Pause, str]] = {}
        self._rejections = Throttle[tuple[TopicPartition, RejectionReason]](REJECTIONS_EVERY_S, clock=clock)

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:
        """Log the assignment."""
        _log.info("assigned", partitions=by_topic(sources))

    def revoked(self) -> None:
        """Log the start of a rebalance."""
        _log.info("rebalancing")

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Log a task's step through its life cycle."""
        _log.info("task", topic=source.topic, partition=source.partition, state=state.value)
        if state is TaskState.CLOSED:
            self._say_rejected(source, {}, at_once=True)
            self._rejections.forget(lambda key: key[0] == source)
        # A pause that needs somebody outlasts the task's states: it is logged once.
        pause = self._pauses.get(source)
        if state is TaskState.CLOSED or (pause is not None and not pause[0].needs_somebody):
            self._pauses.pop(source, None)

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:
        """Log why tasks start over from their last commit."""
        message = "transaction failed, its partitions start over from their last commit"
        _log.warning(message, partitions=by_topic(sources), cause=cause, **({"why": why} if why else {}))

    def committed(self, report: CommitReport) -> None:
        """Log the rejections up to this commit, with an example from this one."""
        for reason, count in report.rejected.items():
            self._rejections.count((report.source, reason), count)
        self._say_rejected(report.source, report.samples)
        super().committed(report)

    def folded(self, report: FoldReport) -> None:
        """Log the first event of each anomaly, with advice."""
        for (kind, detail), first in report.tally.firsts.items():
            once = (kind, detail if kind == UNKNOWN_STATUS else "")
            room = kind != UNKNOWN_STATUS or len(self._odd) < MAX_ODD
            if kind in ADVICE and once not in self._odd and room:
                self._odd.add(once)
                place = {"topic": report.source.topic, "partition": report.source.partition, "offset": first.offset}
                details = {"run": escaped(first.run_id), **self._details(kind, detail), "advice": ADVICE[kind]}
                _odd_log.warning("odd event, others of the kind are only counted", kind=kind, **place, **details)

    def paused(self, source: TopicPartition, why: Pause, message: str) -> None:
        """Log once that a partition waits, and what for; one that waits for somebody is an error.

        Payloads may have no room for one reason, then for another: each is logged.
        """
        logged = why, message if why is Pause.STATE_FULL else ""
        if self._pauses.get(source) != logged:
            self._pauses[source] = logged
            self._say_rejected(source, {}, at_once=True)
            log = _log.error if why.needs_somebody else _log.warning
            log("paused", topic=source.topic, partition=source.partition, reason=why.value, why=message)

    def resumed(self, source: TopicPartition) -> None:
        """Log that a partition goes on."""
        if self._pauses.pop(source, None) is not None:
            _log.info("resumed", topic=source.topic, partition=source.partition)

    def has_no_snapshots(self, partition: int, why: str) -> None:
        """Log that a partition goes without snapshots; its state is in its topic."""
        _log.warning("no snapshots, the next start reads all of run-state", partition=partition, why=why)

    def blocked(self, message: str) -> None:
        """Log what the start waits for."""
        if message:
            _log.warning("waiting", why=message)

    def denied(self, message: str) -> None:
        """Log which right is lacking, and that it is there again."""
        if message:
            _log.error("denied, tried again with back-off", why=message)
        else:
            _log.info("no longer denied")

    def _details(self, kind: Anomaly, detail: str) -> dict[str, object]:
        """Return further details of an odd event."""
        if kind == TWO_PARTITIONS:
            return {"also_on": int(detail)}
        if kind != UNKNOWN_STATUS:
            return {}
        near = meant(detail, self._statuses)
        return {"status": escaped(detail), **({"did_you_mean": near} if near else {})}

    def _say_rejected(
        self, source: TopicPartition, samples: Mapping[RejectionReason, Rejection], *, at_once: bool = False
    ) -> None:
        for key in self._rejections.unsaid():
            if key[0] == source and (count := self._rejections.due(key, at_once=at_once)):
                self._log_rejected(source, key[1], count, samples.get(key[1]))

    def _log_rejected(
        self, source: TopicPartition, reason: RejectionReason, count: int, sample: Rejection | None
    ) -> None:
        example = {} if sample is None else {"offset": sample.record.offset, "why": sample.message}
        if sample is not None and self._payloads and sample.record.value is not None:
            example["payload"] = sample.record.value[:MAX_SHOWN_BYTES].hex()
        _log.info("rejected", topic=source.topic, partition=source.partition, reason=reason, records=count, **example)
