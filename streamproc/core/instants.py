"""Times as text, in the one form that all outputs have."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime.fromtimestamp(0, UTC)


def utc_text(time_ms: int, timespec: str = "milliseconds") -> str:
    """Return a time in milliseconds as RFC 3339 has it, in UTC; raises OverflowError beyond the year 9999."""
    return (EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec=timespec).replace("+00:00", "Z")
