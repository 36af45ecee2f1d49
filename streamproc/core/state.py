"""The committed state of one partition, and the changes of a commit. Only confirmed commits and restores modify it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import islice

from msgspec import Struct, field
from msgspec.structs import replace

from streamproc.core.alerts import Alert
from streamproc.core.calendar import Calendar, CalendarOverlay
from streamproc.core.model import Ruling, Run, RunEvent, Transition
from streamproc.core.payloads import IN_HAND, LET_GO, InMemory, Payloads
from streamproc.core.reminders import Reminders, RemindersOverlay
from streamproc.core.rules import Rules
from streamproc.core.runs import Runs
from streamproc.core.tally import Limiter, Tally

MAX_LET_GO = 5_000
MAX_FIRED_PER_COMMIT = 2_000
"""If very many deadlines pass at once, the rest fires in the next commits: each commit has to stay small."""


class CommitOutcome(Struct):
    """What one commit changes and sends: an overlay on a State, which it does not modify.

    `runs`: the last state of each changed run, None if it is forgotten; `forgotten`: the offsets of the last applied
    events of those; `causes`: the offset of an event that changed a state without being applied, or step.CLOCK;
    `forgetting`, `limits`: overlays on those of the state; `room`: how many deadlines may still fire.
    """

    tally: Tally
    stream_time: int
    forgetting: CalendarOverlay[str]
    limits: RemindersOverlay
    runs: dict[str, Run | None] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    rulings: list[Ruling] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    now: int = 0
    room: int = MAX_FIRED_PER_COMMIT


class State:
    """The state of one partition: its runs, and its stream time.

    `forgetting` says when to examine which runs for retention, `limits` for deadlines. The payloads of the runs are in
    `payloads`.
    """

    def __init__(self, rules: Rules, stream_time: int = 0, payloads: Payloads | None = None) -> None:
        """Start empty."""
        self.rules = rules
        self.payloads = InMemory() if payloads is None else payloads
        self.runs = Runs(rules.profile.outcomes)
        self.by_status: Counter[str] = Counter()
        self.stream_time = stream_time
        self.shortest_ms = rules.retention.shortest_ms
        self.limiter = Limiter(rules.max_groups)
        self.forgetting: Calendar[str] = Calendar(rules.retention.bucket_ms)
        self.limits = Reminders(rules.deadlines, rules.profile)
        self._let_go_until = 0
        self._letting_go: Iterator[str] | None = None
        self.changed: set[str] | None = None
        """The runs changed since the caller last emptied this set; None if changes are not tracked."""
        self.snapshot_ms = 0
        """The clock at the last snapshot of this state, in milliseconds; 0: none yet."""

    @property
    def live_keys(self) -> int:
        """How many keys run-state has."""
        return len(self.runs)

    def open_runs(self) -> ValuesView[Run]:
        """Return the runs that have not ended."""
        return self.runs.open_runs()

    def holds(self, run: Run, event: RunEvent) -> bool:
        """Tell whether the event equals the one applied to the run last: the same bytes of the same schema."""
        if run.event_schema != event.schema or run.payload == LET_GO:
            return False
        return self.payloads.equals(run.payload, event.payload) if run.payload else run.event == event.payload

    def put(self, run: Run) -> None:
        """Set a run's latest state. It belongs to this object from now on: its payload moves to `payloads`."""
        before = self.runs.get(run.run_id)
        if not run.payload:
            run.payload = self.payloads.add(run.event)
            run.event = b""
        if before is not None and before.payload not in {run.payload, LET_GO}:
            self.payloads.drop(before.payload)
        self.runs[run.run_id] = run
        if before is None or before.status != run.status:
            self.by_status[run.status] += 1
            if before is not None:
                self._leave(before.status)
        if before is None or self._ends(before, run):
            # Under the earliest time at which it may be due, ended or not: then it is examined, and filed anew.
            self.forgetting.add(run.run_id, run.retained_from + self.shortest_ms)

    def put_ended(self, ended: Mapping[str, bytes], retained_from: Iterable[int], statuses: Mapping[str, int]) -> None:
        """Add new packed runs by id, with the `retained_from` of each, and how many are in each status."""
        self.runs.put_ended(ended)
        self.by_status.update(statuses)
        for run_id, retained in zip(ended, retained_from, strict=True):
            self.forgetting.add(run_id, retained + self.shortest_ms)

    def arm(self) -> None:
        """Schedule the deadlines of a restored state."""
        self.limits.arm(self.runs.open_runs(), self.runs.get_open)

    def remove(self, run_id: str) -> None:
        """Forget a run, if it exists."""
        run = self.runs.get(run_id)
        if run is not None:
            del self.runs[run_id]
            if run.payload != LET_GO:
                self.payloads.drop(run.payload)
            self._leave(run.status)

    def due_at(self, run: Run) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return self.rules.retention.due_at(run, terminal=self._has_ended(run))

    def _has_ended(self, run: Run) -> bool:
        return run.status in self.rules.profile.outcomes

    def merge(self, out: CommitOutcome) -> None:
        """Apply the changes of a confirmed commit. The commit must have begun on this state as it is."""
        self.forgetting.merge(out.forgetting)
        if self.changed is not None:
            self.changed.update(out.runs)
        for run_id, run in out.runs.items():
            if run is None:
                self.remove(run_id)
            else:
                self.put(run)
        self.limits.merge(out.limits, self.runs.get_open)
        self.limiter = out.tally.limiter
        self.stream_time = out.stream_time

    def settle(self, out: CommitOutcome) -> None:
        """If there is nothing to commit: note what was examined without a change, so that nothing examines it again."""
        self.forgetting.merge(out.forgetting)
        self.limits.merge(out.limits, self.runs.get_open)

    def let_go(self, now: int) -> None:
        """Drop the payloads of ended runs whose retention is over by the clock, though not yet by the stream.

        To make room (rules.md 17), a few thousand at a time: the next call goes on with the rest. Call it only while no
        commit is under way on this state.
        """
        if self._letting_go is None:
            # Runs are filed by the shorter retention: one with the longer retention is examined until that is over.
            longer = self.rules.retention.terminal_ms - self.shortest_ms
            self._letting_go = iter(list(self.forgetting.between(self._let_go_until - longer, now)))
            self._let_go_until = now
        some = list(islice(self._letting_go, MAX_LET_GO))
        if not some:
            self._letting_go = None
        for run_id in some:
            run = self.runs.get(run_id)
            if run is not None and run.payload != LET_GO and self._has_ended(run) and self.due_at(run) <= now:
                self.payloads.drop(run.payload)
                self.runs[run_id] = replace(run, payload=LET_GO)
                if self.changed is not None:
                    self.changed.add(run_id)

    def look_again(self) -> None:
        """Let `let_go` examine all runs anew: runs were added that it would have examined before."""
        self._let_go_until = 0

    def whole(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs with their payloads, in the given order."""
        payloads = self.payloads.read(run.payload for run in runs if run.payload)
        return [replace(run, event=payloads[run.payload], payload=IN_HAND) if run.payload else run for run in runs]

    def live_after(self, changed: Mapping[str, Run | None]) -> int:
        """Return the number of keys once `changed` is merged."""
        runs = self.runs
        return len(runs) + sum((run is not None) - (run_id in runs) for run_id, run in changed.items())

    def _ends(self, before: Run, run: Run) -> bool:
        """Tell whether the run ended: while it was open, it may have been filed under a much later time."""
        outcomes = self.rules.profile.outcomes
        return before.status != run.status and run.status in outcomes

    def _leave(self, status: str) -> None:
        self.by_status[status] -= 1
        if not self.by_status[status]:
            del self.by_status[status]
