"""What a batch amounts to in numbers: the only source of the counters that the service exports.

Closed sets of keys, so that nothing a producer writes can become a new series; models are limited where exported.
"""

from collections import Counter

from msgspec import Struct, field

from streamproc.core.lifecycle import Profile
from streamproc.core.model import Run, RunEvent, Transition, Verdict

OTHER = "other"


class Tally(Struct):
    """Counts of one commit. Durations in seconds, each with the labels it is exported under."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    run_durations: list[tuple[str, str | None, float]] = field(default_factory=list)
    queue_waits: list[float] = field(default_factory=list)
    action_waits: list[float] = field(default_factory=list)
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

    def moved(self, before: Run | None, after: Run, change: Transition, profile: Profile) -> None:
        """Count an applied change of status and the time that it ended (rules.md 15)."""
        start = change.from_status
        known = profile.moves
        self.transitions[
            "" if start is None else start if start in known else OTHER,
            change.to_status if change.to_status in known else OTHER,
        ] += 1
        if not change.expected:
            self.anomalies["unexpected_transition"] += 1
        if before is None:
            self.opened.append(after.run_id)
        elif start == profile.waiting:
            self.action_waits.append((change.in_from_ms or 0) / 1000)
        elif start == profile.queued and change.to_status == profile.running and before.started_at is None:
            self.queue_waits.append(_seconds(after.created_at, after.started_at, change.in_from_ms or 0))
        if change.outcome is not None:
            self._ended(after, change)

    def tokens_of(self, run: Run) -> None:
        """Count the tokens of an ended run: once, though usage may have been there before the end."""
        if run.usage is not None:
            for kind, count in zip(("prompt", "completion"), run.usage, strict=False):
                self.tokens[kind, run.model] += count

    def _ended(self, run: Run, change: Transition) -> None:
        in_kafka_ms = max(0, change.occurred_at - run.first_seen_at)
        duration = _seconds(run.created_at, run.ended_at, in_kafka_ms)
        self.run_durations.append((change.outcome or OTHER, run.model, duration))
        self.tokens_of(run)


def _seconds(start: int | None, end: int | None, else_ms: int) -> float:
    """Return the RunObject's own duration where it gives both ends, else the one between Kafka timestamps."""
    if start is None or end is None:
        return else_ms / 1000
    return float(max(0, end - start))
