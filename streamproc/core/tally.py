"""The counts of a commit: the only source of the exported counters and of the measurements.

Keys for statuses and kinds come from closed sets, so that nothing a producer writes can become a new series; models and
assistants are limited where they are exported.
"""

from collections import Counter
from typing import NamedTuple

from msgspec import Struct, field

from streamproc.core.durations import between, has_waited_only, queue_wait_ms, run_duration_ms
from streamproc.core.lifecycle import Profile
from streamproc.core.measure import (
    ACTION_WAIT,
    COMPLETED,
    CREATED,
    OTHER,
    QUEUE_WAIT,
    TOKENS,
    CellKey,
    DurationNames,
    Group,
    Totals,
    entered,
    name,
    run_durations,
)
from streamproc.core.model import EventFlag, Run, RunEvent, Transition, Verdict
from streamproc.vocabulary import Vocabulary

TOKEN_TYPES = ("prompt", "completion")
_TOKENS = tuple(TOKENS + kind for kind in TOKEN_TYPES)
MAX_FIRSTS = 16
"""Of one commit: one of each kind, and of so many unknown statuses."""
MAX_TOKENS = 10**12
"""The most tokens of one run. More is a mistake, and must not drown the sums."""


class FoldAnomaly(Vocabulary):
    """What is odd about an event, or about a change of status, beside what its decoder flags."""

    FUTURE_TIMESTAMP = (
        "future_timestamp",
        "The event's time is more than 5 minutes ahead of the clock: it is not believed.",
    )
    ILLEGAL = "illegal", "The run had ended otherwise: verdict `illegal`, and an alert."
    KEY_ABSENT = "key_absent", "The record has no key."
    KEY_MISMATCH = "key_mismatch", "The record's key is neither the run's id nor its thread's."
    OLD_TIMESTAMP = "old_timestamp", "The event's time is more than a day behind the clock."
    STALE = "stale", "The event came too late to change the status: verdict `stale`."
    TIMESTAMP_ABSENT = (
        "timestamp_absent",
        "The Kafka timestamp is missing, or not in the years 2000 to 9999: the clock's is taken.",
    )
    TWO_PARTITIONS = "two_partitions", "A run has events on two partitions: its producers key differently."
    UNEXPECTED_TRANSITION = (
        "unexpected_transition",
        "The profile accepts the change of status, but does not document it.",
    )
    UNKNOWN_STATUS = "unknown_status", "The profile does not have the status; it counts as active."


Anomaly = EventFlag | FoldAnomaly
ANOMALIES: tuple[Anomaly, ...] = (*EventFlag, *FoldAnomaly)
"""All that is counted as an anomaly."""
KEY_ABSENT, KEY_MISMATCH = FoldAnomaly.KEY_ABSENT, FoldAnomaly.KEY_MISMATCH
UNEXPECTED_TRANSITION = FoldAnomaly.UNEXPECTED_TRANSITION
TWO_PARTITIONS, UNKNOWN_STATUS = FoldAnomaly.TWO_PARTITIONS, FoldAnomaly.UNKNOWN_STATUS


class Exemplar(Struct, frozen=True):
    """The last run whose duration was measured for an outcome and a model."""

    run_id: str
    duration_ms: int
    ended_at: int


class First(NamedTuple):
    """The first event of a commit with an anomaly, so that somebody can examine it."""

    run_id: str
    offset: int


class Limiter:
    """Admits a limited number of groups to a base window, first come, first served; any other becomes `other`.

    Local to one task, never stored: it bounds the memory of the windows, whatever names producers make up.
    """

    def __init__(self, max_groups: int = 5_000, windows: int = 10) -> None:
        """Remember the groups of the last `windows` base windows in use."""
        self._max_groups = max_groups
        self._windows = windows
        self._groups: dict[int, set[Group]] = {}
        self._own: set[int] = set()
        """The base windows whose set of groups no fork shares."""

    def fork(self) -> "Limiter":
        """Return a copy that goes on from here, and does not change this limiter."""
        new = Limiter(self._max_groups, self._windows)
        new._groups = self._groups.copy()
        return new

    def admit(self, group: Group, start: int) -> Group:
        """Return the group under which to measure in the base window that begins at `start`."""
        known = self._groups.get(start)
        if known is None:
            if len(self._groups) >= self._windows:
                del self._groups[min(self._groups)]
            known = self._groups[start] = set()
            self._own.add(start)
        if group not in known:
            if len(known) >= self._max_groups:
                return OTHER, OTHER
            if start not in self._own:
                known = self._groups[start] = known.copy()
                self._own.add(start)
            known.add(group)
        return group


class Tally(Struct):
    """Counts of one commit.

    `transitions`: applied changes by the status before ("": new) and after; `ended`: runs that ended, by
    assistant and outcome; `models`: durations and waits by model; `tokens`: by assistant, model and type; `spenders`:
    runs with tokens, by assistant and model; `cells`: all that, by group and base window.
    There may be as many cells as events: the other fields are exported, so that no export has to go through the cells.
    `firsts`: a few examples, by anomaly and detail: the status if it is unknown, the other partition if a run is on
    two.
    """

    base_ms: int = 60_000
    limiter: Limiter = field(default_factory=Limiter)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    anomalies: Counter[Anomaly] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    models: dict[str | None, Totals] = field(default_factory=dict)
    tokens: Counter[tuple[str | None, str | None, str]] = field(default_factory=Counter)
    spenders: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    exemplars: dict[tuple[str, str | None], Exemplar] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    cells: dict[CellKey, Totals] = field(default_factory=dict)
    firsts: dict[tuple[Anomaly, str], First] = field(default_factory=dict)

    def arrival(self, event: RunEvent, verdict: Verdict, profile: Profile) -> None:
        """Count one arrival and its anomalies (rules.md 1 and 14)."""
        self.verdicts[verdict] += 1
        if event.status not in profile.moves:
            self._odd(UNKNOWN_STATUS, event, event.status)
        for flag in event.flags:
            self._odd(flag, event)
        key = event.key
        if key is None:
            self._odd(KEY_ABSENT, event)
        elif key != (event.thread_id or "").encode() and key != event.run_id.encode():
            self._odd(KEY_MISMATCH, event)

    def moved(self, before: Run | None, after: Run, change: Transition, profile: Profile, event_ms: int) -> None:
        """Count an applied change of status and the duration that it ended (rules.md 15).

        `event_ms`: the time of the change, as far as the event is believed; it decides the window.
        """
        start, to, known = change.from_status, change.to_status, profile.moves
        shown = to if to in known else OTHER
        self.transitions["" if start is None else start if start in known else OTHER, shown] += 1
        cell = self._cell(after, event_ms)
        cell.add(entered(shown))
        if not change.expected:
            self.anomalies[UNEXPECTED_TRANSITION] += 1
        if before is None:
            cell.add(CREATED)
            self.opened.append(after.run_id)
        elif start in profile.waiting:
            waited_ms = between(before.status_since, event_ms)
            if waited_ms is not None:
                self._took(cell, after, ACTION_WAIT, waited_ms)
        elif start in profile.queued and to in profile.running:
            self._started(cell, before, after, event_ms, profile)
        elif start in profile.outcomes:
            cell.add(CREATED)
        if change.outcome is not None:
            self._end(cell, change, run_duration_ms(before, after, event_ms), after)

    def _started(self, cell: Totals, before: Run, after: Run, event_ms: int, profile: Profile) -> None:
        """Count the wait for the first start of an attempt; a run may be queued again, as one that was interrupted."""
        if before.started_at is None and has_waited_only(before, len(profile.queued)):
            waited_ms = queue_wait_ms(before, after, event_ms)
            if waited_ms is not None:
                self._took(cell, after, QUEUE_WAIT, waited_ms)

    def completed(self, before: Run, after: Run, event_ms: int) -> None:
        """Count usage or an error that an event first brought for a run that had already ended (rules.md 12)."""
        cell = self._cell(after, event_ms)
        cell.add(COMPLETED)
        if before.usage is None:
            self._count_tokens(cell, after)
        if before.error_code is None and after.error_code is not None:
            cell.error(after.error_code)

    def is_twofold(self, first: First, other: int) -> None:
        """Count a run that was opened here and also lives on the partition `other` (rules.md 1)."""
        self.anomalies[TWO_PARTITIONS] += 1
        self.firsts.setdefault((TWO_PARTITIONS, str(other)), first)

    def _odd(self, kind: Anomaly, event: RunEvent, detail: str = "") -> None:
        self.anomalies[kind] += 1
        if (kind, detail) not in self.firsts and (kind != UNKNOWN_STATUS or len(self.firsts) < MAX_FIRSTS):
            self.firsts[kind, detail] = First(event.run_id, event.offset)

    def _cell(self, run: Run, event_ms: int) -> Totals:
        key = run.assistant_id, run.model, event_ms - event_ms % self.base_ms
        cell = self.cells.get(key)
        if cell is None:
            group = self.limiter.admit((name(run.assistant_id), name(run.model)), key[2])
            cell = self.cells.setdefault((*group, key[2]), Totals())
        return cell

    def _end(self, cell: Totals, change: Transition, duration_ms: int | None, run: Run) -> None:
        outcome = change.outcome or ""
        self.ended[run.assistant_id, outcome] += 1
        self._took(cell, run, run_durations(outcome), duration_ms)
        if duration_ms is not None:
            self.exemplars[outcome, run.model] = Exemplar(run.run_id, duration_ms, change.occurred_at)
        if run.error_code is not None:
            cell.error(run.error_code)
        self._count_tokens(cell, run)

    def _took(self, cell: Totals, run: Run, names: DurationNames, duration_ms: int | None) -> None:
        cell.took(names, duration_ms)
        self._model(run).took(names, duration_ms)

    def _count_tokens(self, cell: Totals, run: Run) -> None:
        if run.usage is None:
            return
        self.spenders[run.assistant_id, run.model] += 1
        for kind, counted, count in zip(TOKEN_TYPES, _TOKENS, run.usage, strict=False):
            if count > 0:
                tokens = min(count, MAX_TOKENS)
                cell.add(counted, tokens)
                self.tokens[run.assistant_id, run.model, kind] += tokens

    def _model(self, run: Run) -> Totals:
        totals = self.models.get(run.model)
        if totals is None:
            totals = self.models[run.model] = Totals()
        return totals
