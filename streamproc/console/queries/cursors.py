"""Where a page ends: the key of its last row, of which read model, as a text that nobody needs to read."""

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
    """Return the key in a cursor; raises BadCursor where it is none of this list and this read model."""
    try:
        padded = text[:MAX_CHARS] + "=" * (-len(text) % 4)
        found = msgspec.msgpack.decode(urlsafe_b64decode(padded), type=list[Any])
    except (ValueError, msgspec.MsgspecError):
        raise BadCursor("the cursor is none: take `next` of the page before as it is") from None
    # SQLite's whole numbers end there; a cursor of ours has none beyond.
    is_small = all(abs(each) < 2**63 for each in found[2:] if isinstance(each, int))
    if found[1:2] != [of] or [type(each) for each in found[2:]] != [*kinds] or not is_small:
        raise BadCursor("the cursor is of another list: begin at the first page")
    if found[0] != epoch:
        raise BadCursor(STALE)
    return found[2:]
