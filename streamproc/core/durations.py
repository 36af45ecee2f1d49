"""How long something of a run took, as far as it is known (rules.md 15). What is not known is None, never 0.

The RunObject's own times come first. Where it lacks the end, the event's time stands for it; where that does not go
with the object's times, as under a wrong timestamp, both ends are taken from Kafka.
"""

from streamproc.core.model import MAX_LATE_MS, Run, Transition


def between(start_ms: int, end_ms: int) -> int | None:
    """Return how long it took; None where the end is before the start by more than clocks differ."""
    return None if end_ms < start_ms - MAX_LATE_MS else max(0, end_ms - start_ms)


def run_duration_ms(before: Run | None, run: Run, change: Transition) -> int | None:
    """Return how long a run that ends by `change` took, from its creation; `run` as it is afterwards."""
    # Where its end is the first that is seen of it, Kafka tells of no beginning.
    was_seen = before is not None and before.attempt == run.attempt
    in_kafka_ms = between(run.first_seen_at, change.occurred_at) if was_seen else None
    return _duration(run.created_at, run.ended_at, change.occurred_at, in_kafka_ms)


def queue_wait_ms(before: Run, after: Run, change: Transition) -> int | None:
    """Return how long a run waited for the start that is `change`, from its creation."""
    in_kafka_ms = between(before.status_since, change.occurred_at)
    return _duration(after.created_at, after.started_at, change.occurred_at, in_kafka_ms)


def _duration(created_at: int | None, until_s: int | None, occurred_at: int, in_kafka_ms: int | None) -> int | None:
    if created_at is None:
        return in_kafka_ms
    known = between(created_at * 1000, occurred_at if until_s is None else until_s * 1000)
    return in_kafka_ms if known is None else known
