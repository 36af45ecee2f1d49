"""Events as server-sent events (the HTML standard's text/event-stream)."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from streamproc.console.api.problems import status_of
from streamproc.console.reads import Event

RETRY = b"retry: 2000\n\n"
NOTHING_NEW = b": nothing new\n\n"


async def sent(first: Sequence[Event], batches: AsyncIterator[Sequence[Event]]) -> AsyncIterator[bytes]:
    """Yield batches encoded as server-sent events, `first` before the others."""
    yield RETRY + _events(first)
    try:
        async for batch in batches:
            yield _events(batch)
    except Exception as error:
        # The read model is being rebuilt, or the query took too long: the client reconnects with its last id.
        if status_of(error) is None:
            raise


def _events(batch: Sequence[Event]) -> bytes:
    return b"".join(map(_event, batch)) or NOTHING_NEW


def _event(event: Event) -> bytes:
    data = msgspec.json.encode(event._asdict())
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.kind.encode(), event.id.encode(), data)
