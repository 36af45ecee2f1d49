"""What a commit amounts to in numbers: the only source of the counters exported and of the measurements sent on.

Closed sets of keys for statuses and kinds, so that nothing a producer writes can become a new series; models and
assistants are limited where they are exported.
"""

from collections import Counter

from msgspec import Struct, field

from streamproc.core.lifecycle import Profile
from streamproc.core.measure import OTHER, Totals, add, name
from streamproc.core.model import Run, RunEvent, Transition, Verdict

TOKEN_TYPES = ("prompt", "completion")
MAX_TOKENS = 10**12
"""Of one run. More is no count but a mistake, and must not drown the sums."""


class Exemplar(Struct, frozen=True):
    """The last run whose duration was measured for an outcome and a model."""

    run_id: str
    duration_ms: int
    ended_at: int


class Tally(Struct):
    """Counts of one commit. `cells`: by assistant, model and start of the base window in milliseconds."""

    base_ms: int = 60_000
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)
    cells: dict[tuple[str | None, str | None, int], Totals] = field(default_factory=dict)
    exemplars: dict[tuple[str, str | None], Exemplar] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)

    def arrival(self, event: RunEvent, verdict: Verdict, profile: Profile) -> None:
        """Count one arrival, and what is odd about it (rules.md 1 and 14)."""
        self.verdicts[verdict] += 1
        if event.status not in profile.moves:
            self.anomalies["unknown_status"] += 1
        key = event.key
        if key is None:
            self.anomalies["key_absent"] += 1
        elif key != (event.thread_id or "").encode() and key != event.run_id.encode():
            self.anomalies["key_mismatch"] += 1

    def moved(self, before: Run | None, after: Run, change: Transition, profile: Profile, event_ms: int) -> None:
        """Count an applied change of status and the time that it ended (rules.md 15), in the window of `event_ms`."""
        start, to = change.from_status, change.to_status
        known = profile.moves
        if to not in known:
            to = OTHER
        self.transitions["" if start is None else start if start in known else OTHER, to] += 1
        if not change.expected:
            self.anomalies["unexpected_transition"] += 1
        cell = self._cell(after, event_ms)
        add(cell.transitions, to, 1)
        if before is None:
            self.opened.append(after.run_id)
            cell.created += 1
        elif start == profile.waiting:
            cell.action_wait.add(change.in_from_ms or 0)
        elif start == profile.queued and to == profile.running and before.started_at is None:
            cell.queue_wait.add(_milliseconds(after.created_at, after.started_at, change.in_from_ms or 0))
        if change.outcome is not None:
            self._ended(cell, after, change, change.outcome)

    def completed(self, before: Run, after: Run, event_ms: int) -> None:
        """Count what an event first brought of a run that had ended already: usage, an error (rules.md 12)."""
        cell = self._cell(after, event_ms)
        if before.usage is None:
            _count_tokens(cell, after)
        if before.error_code is None:
            _count_error(cell, after)

    def _cell(self, run: Run, event_ms: int) -> Totals:
        key = run.assistant_id, run.model, event_ms - event_ms % self.base_ms
        cell = self.cells.get(key)
        if cell is None:
            key = name(run.assistant_id), name(run.model), key[2]
            cell = self.cells.get(key)
            if cell is None:
                cell = self.cells[key] = Totals()
        cell.arrivals += 1
        return cell

    def _ended(self, cell: Totals, run: Run, change: Transition, outcome: str) -> None:
        in_kafka_ms = max(0, change.occurred_at - run.first_seen_at)
        duration_ms = _milliseconds(run.created_at, run.ended_at, in_kafka_ms)
        cell.ended_as(outcome, duration_ms)
        self.exemplars[outcome, run.model] = Exemplar(run.run_id, duration_ms, change.occurred_at)
        _count_error(cell, run)
        _count_tokens(cell, run)


def _count_tokens(cell: Totals, run: Run) -> None:
    for kind, count in zip(TOKEN_TYPES, run.usage or (), strict=False):
        add(cell.tokens, kind, max(0, min(count, MAX_TOKENS)))


def _count_error(cell: Totals, run: Run) -> None:
    if run.error_code is not None:
        cell.error(run.error_code)


def _milliseconds(start: int | None, end: int | None, else_ms: int) -> int:
    """Return the RunObject's own duration where it gives both ends, else the one between Kafka timestamps."""
    if start is None or end is None:
        return else_ms
    return max(0, end - start) * 1000
