"""How long something of a run took, as far as it is known (rules.md 15). What is not known is None, never 0.

The RunObject's own times come first. Where it lacks the end, the event's time stands for it; where that does not go
with the object's times, as under a wrong timestamp, both ends are taken from Kafka.
"""

from streamproc.core.model import MAX_LATE_MS, Run, Transition


def between(start_ms: int, end_ms: int) -> int | None:
    """Return how long it took; None where the end is before the start by more than clocks differ."""
    taken_ms = end_ms - start_ms
    if taken_ms < 0:
        return None if taken_ms < -MAX_LATE_MS else 0
    return taken_ms


def run_duration_ms(before: Run | None, run: Run, change: Transition) -> int | None:
    """Return how long a run that ends by `change` took, from its creation; `run` as it is afterwards."""
    # Where its end is the first that is seen of it, Kafka tells of no beginning.
    was_seen = before is not None and before.attempt == run.attempt
    return _duration(run.created_at, run.ended_at, run.first_seen_at if was_seen else None, change.occurred_at)


def queue_wait_ms(before: Run, after: Run, change: Transition) -> int | None:
    """Return how long a run waited for the start that is `change`, from its creation."""
    return _duration(after.created_at, after.started_at, before.status_since, change.occurred_at)


def _duration(created_at: int | None, until_s: int | None, seen_at: int | None, occurred_at: int) -> int | None:
    if created_at is not None:
        own = between(created_at * 1000, occurred_at if until_s is None else until_s * 1000)
        if own is not None:
            return own
    return None if seen_at is None else between(seen_at, occurred_at)
