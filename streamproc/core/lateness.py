"""How late an event comes: behind its partition's stream time, and behind the clock (rules.md 15 and 16).

A backfill, a slow mirror or a producer with a wrong clock sends events that are late on arrival. Their times are not
changed, but the limits of the statuses they enter must not count as passed only because the events are late.
"""

from streamproc.core.model import MAX_LATE_MS

Lateness = tuple[int, int]
"""Milliseconds behind the stream, and behind the clock; 0 up to MAX_LATE_MS."""
IN_TIME: Lateness = (0, 0)


def lateness(timestamp: int, stream_time: int, wall_ms: int) -> Lateness:
    """Return how late an event with this timestamp is."""
    in_time_from = timestamp + MAX_LATE_MS
    if stream_time <= in_time_from and wall_ms <= in_time_from:
        return IN_TIME
    return (
        stream_time - timestamp if stream_time > in_time_from else 0,
        wall_ms - timestamp if wall_ms > in_time_from else 0,
    )
