"""Durations of a run, as far as they are known (rules.md 15). An unknown one is None, never 0.

The RunObject's own times come first. If it lacks the end, the event's time replaces it; if that contradicts the
object's times, as a wrong timestamp does, both ends are taken from Kafka.
"""

from streamproc.core.model import MAX_LATE_MS, Run


def between(start_ms: int, end_ms: int) -> int | None:
    """Return the duration; None if the end is before the start by more than clocks differ."""
    taken_ms = end_ms - start_ms
    if taken_ms < 0:
        return None if taken_ms < -MAX_LATE_MS else 0
    return taken_ms


def run_duration_ms(before: Run | None, run: Run, at_ms: int) -> int | None:
    """Return a run's duration from its creation to its end by an event of `at_ms`; `run` as it is after that event."""
    # If its end is its first event, Kafka has no beginning of it.
    was_seen = before is not None and before.attempt == run.attempt
    return _duration(run.created_at, run.ended_at, run.first_seen_at if was_seen else None, at_ms)


def queue_wait_ms(before: Run, after: Run, at_ms: int) -> int | None:
    """Return how long a run waited from its creation to its start, which an event of `at_ms` reports."""
    return _duration(after.created_at, after.started_at, before.first_seen_at, at_ms)


def has_waited_only(run: Run, queued_statuses: int) -> bool:
    """Tell whether an attempt that is queued has not run yet: a profile may have several such statuses."""
    return run.status_since == run.first_seen_at or (run.attempt == 1 and run.transitions <= queued_statuses)


def _duration(created_at: int | None, until_s: int | None, seen_at: int | None, at_ms: int) -> int | None:
    if created_at is not None:
        own = between(created_at * 1000, at_ms if until_s is None else until_s * 1000)
        if own is not None:
            return own
    return None if seen_at is None else between(seen_at, at_ms)
