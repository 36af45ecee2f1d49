"""What a commit amounts to in numbers: the only source of the counters exported and of the measurements sent on.

Closed sets of keys for statuses and kinds, so that nothing a producer writes can become a new series; models and
assistants are limited where they are exported.
"""

from collections import Counter

from msgspec import Struct, field

from streamproc.core.durations import between, queue_wait_ms, run_duration_ms
from streamproc.core.lifecycle import Profile
from streamproc.core.measure import OTHER, CellKey, Group, Histogram, Totals, add, name
from streamproc.core.model import Run, RunEvent, Transition, Verdict

TOKEN_TYPES = ("prompt", "completion")
MAX_TOKENS = 10**12
"""Of one run. More is no count but a mistake, and must not drown the sums."""


class Exemplar(Struct, frozen=True):
    """The last run whose duration was measured for an outcome and a model."""

    run_id: str
    duration_ms: int
    ended_at: int


class Cell(Struct):
    """What happened in one base window of a group.

    `moves`: changes of status by where from ("": new) and where to; `reopened`: those of them that began a further
    attempt.
    """

    moves: dict[tuple[str, str], int] = field(default_factory=dict)
    reopened: int = 0
    completions: int = 0
    sums: Totals = field(default_factory=Totals)

    def totals(self) -> Totals:
        """Return the sums, with what the moves amount to."""
        arrivals, created, transitions = self.completions, self.reopened, dict[str, int]()
        for (start, to), count in self.moves.items():
            arrivals += count
            if not start:
                created += count
            transitions[to] = transitions.get(to, 0) + count
        sums = self.sums
        sums.arrivals, sums.created, sums.transitions = arrivals, created, transitions
        return sums


class Limiter:
    """Tells so many groups of a base window apart, first come, first served; any other is `other`.

    A hint of one task, never stored: it bounds the memory of the windows, whatever names producers make up.
    """

    def __init__(self, max_groups: int = 5_000, windows: int = 10) -> None:
        """Remember the groups of the last `windows` base windows that came up."""
        self._max_groups = max_groups
        self._windows = windows
        self._groups: dict[int, set[Group]] = {}

    def admit(self, group: Group, start: int) -> Group:
        """Return the group under which to measure in the base window that begins at `start`."""
        known = self._groups.get(start)
        if known is None:
            if len(self._groups) >= self._windows:
                del self._groups[min(self._groups)]
            known = self._groups[start] = set()
        if group not in known:
            if len(known) >= self._max_groups:
                return OTHER, OTHER
            known.add(group)
        return group


class Tally(Struct):
    """Counts of one commit."""

    base_ms: int = 60_000
    limiter: Limiter = field(default_factory=Limiter)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)
    exemplars: dict[tuple[str, str | None], Exemplar] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    groups: dict[CellKey, Cell] = field(default_factory=dict)

    @property
    def cells(self) -> dict[CellKey, Totals]:
        """What was measured, by group and base window."""
        return {key: cell.totals() for key, cell in self.groups.items()}

    @property
    def transitions(self) -> Counter[tuple[str, str]]:
        """Applied changes of status of all groups, by where from ("": new) and where to."""
        total: Counter[tuple[str, str]] = Counter()
        for cell in self.groups.values():
            total.update(cell.moves)
        return total

    def arrival(self, event: RunEvent, verdict: Verdict, profile: Profile) -> None:
        """Count one arrival, and what is odd about it (rules.md 1 and 14)."""
        self.verdicts[verdict] += 1
        if event.status not in profile.moves:
            self.anomalies["unknown_status"] += 1
        for flag in event.flags:
            self.anomalies[flag] += 1
        key = event.key
        if key is None:
            self.anomalies["key_absent"] += 1
        elif key != (event.thread_id or "").encode() and key != event.run_id.encode():
            self.anomalies["key_mismatch"] += 1

    def moved(self, before: Run | None, after: Run, change: Transition, profile: Profile, event_ms: int) -> None:
        """Count an applied change of status and the time that it ended (rules.md 15).

        `event_ms`: when that was, as far as the event is believed; the window is that of it.
        """
        start, to = change.from_status, change.to_status
        known = profile.moves
        move = "" if start is None else start if start in known else OTHER, to if to in known else OTHER
        cell = self._cell(after, event_ms)
        cell.moves[move] = cell.moves.get(move, 0) + 1
        if not change.expected:
            self.anomalies["unexpected_transition"] += 1
        if before is None:
            self.opened.append(after.run_id)
        elif start in profile.waiting:
            _add_known(cell.sums.action_wait, between(before.status_since, event_ms))
        elif start in profile.queued and to in profile.running and before.started_at is None:
            _add_known(cell.sums.queue_wait, queue_wait_ms(before, after, event_ms))
        elif start in profile.outcomes:
            cell.reopened += 1
        if change.outcome is not None:
            self._ended(cell.sums, change, run_duration_ms(before, after, event_ms), after)

    def completed(self, before: Run, after: Run, event_ms: int) -> None:
        """Count what an event first brought of a run that had ended already: usage, an error (rules.md 12)."""
        cell = self._cell(after, event_ms)
        cell.completions += 1
        if before.usage is None:
            _count_tokens(cell.sums, after)
        if before.error_code is None and after.error_code is not None:
            cell.sums.error(after.error_code)

    def _cell(self, run: Run, event_ms: int) -> Cell:
        key = run.assistant_id, run.model, event_ms - event_ms % self.base_ms
        cell = self.groups.get(key)
        if cell is None:
            group = self.limiter.admit((name(run.assistant_id), name(run.model)), key[2])
            cell = self.groups.setdefault((*group, key[2]), Cell())
        return cell

    def _ended(self, sums: Totals, change: Transition, duration_ms: int | None, run: Run) -> None:
        outcome = change.outcome or ""
        sums.ended_as(outcome, duration_ms)
        if duration_ms is not None:
            self.exemplars[outcome, run.model] = Exemplar(run.run_id, duration_ms, change.occurred_at)
        if run.error_code is not None:
            sums.error(run.error_code)
        _count_tokens(sums, run)


def _count_tokens(sums: Totals, run: Run) -> None:
    if run.usage is None:
        return
    for kind, count in zip(TOKEN_TYPES, run.usage, strict=False):
        if count > 0:
            sums.tokens[kind] = sums.tokens.get(kind, 0) + min(count, MAX_TOKENS)


def _add_known(histogram: Histogram, duration_ms: int | None) -> None:
    if duration_ms is not None:
        histogram.add(duration_ms)
