"""Times and spans of time, as people read them."""

from streamproc.core.instants import utc_text
from streamproc.core.model import MAX_TIME_MS, MIN_TIME_MS, NO_TIMESTAMP

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def instant(time_ms: int, timespec: str = "milliseconds") -> str:
    """Write a time in milliseconds: `none` for Kafka's -1, a number that is in another unit or no time as it is."""
    if time_ms == NO_TIMESTAMP:
        return "none"
    if not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
        return str(time_ms)
    return utc_text(time_ms, timespec)


def span(milliseconds: int) -> str:
    """Write a length of time in its two largest units: 2 h 5 min."""
    seconds = max(0, milliseconds) // 1000
    parts: list[str] = []
    for name, length in UNITS:
        count, seconds = divmod(seconds, length)
        if count or (parts and len(parts) < 2):  # noqa: PLR2004  two units are enough to know how long it is
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
