"""Values in the receivers' formats: times as RFC 3339, names and ids of bounded length."""

from hashlib import sha256

from streamproc.core.instants import utc_text
from streamproc.core.model import MAX_TIME_MS
from streamproc.notify.config import MAX_LABEL_CHARS

DIGEST_CHARS = 16


def rfc3339(time_ms: float) -> str:
    """Return a time in milliseconds as text, at most the end of the year 9999."""
    return utc_text(max(0, min(int(time_ms), MAX_TIME_MS)))


def bounded(text: str) -> str:
    """Cut text to MAX_LABEL_CHARS; a longer one keeps its beginning, and an ending that distinguishes it."""
    if len(text) <= MAX_LABEL_CHARS:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]
    return f"{text[: MAX_LABEL_CHARS - DIGEST_CHARS - 1]}~{digest}"
