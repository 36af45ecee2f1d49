"""Cursors: the read model, the list, and the key of a page's last row, as an opaque text."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import msgspec

from streamproc.console.reads import BadCursor

STALE = "the cursor is of a read model that was rebuilt since: begin at the first page"
MAX_CHARS = 2_000


def cursor(epoch: str, of: str, key: Sequence[Any]) -> str:
    """Return the cursor of a list named `of`, behind the row with this key."""
    return urlsafe_b64encode(msgspec.msgpack.encode([epoch, of, *key])).decode().rstrip("=")


def key_in(text: str, epoch: str, of: str, kinds: Sequence[type]) -> list[Any]:
    """Return the key in a cursor; raises BadCursor where it is not one of this list and this read model."""
    try:
        padded = text[:MAX_CHARS] + "=" * (-len(text) % 4)
        parts = msgspec.msgpack.decode(urlsafe_b64decode(padded), type=list[Any])
    except (ValueError, msgspec.MsgspecError):
        raise BadCursor("the cursor is none: take `next` of the page before as it is") from None
    # SQLite takes no larger integers, and none of our cursors has one.
    is_small = all(abs(value) < 2**63 for value in parts[2:] if isinstance(value, int))
    if parts[1:2] != [of] or [type(value) for value in parts[2:]] != [*kinds] or not is_small:
        raise BadCursor("the cursor is of another list: begin at the first page")
    if parts[0] != epoch:
        raise BadCursor(STALE)
    return parts[2:]
