"""Events as server-sent events (the HTML standard's text/event-stream)."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from streamproc.console.api.problems import status_of
from streamproc.console.reads import Event

RETRY = b"retry: 2000\n\n"
NOTHING_NEW = b": nothing new\n\n"


async def sent(first: Sequence[Event], batches: AsyncIterator[Sequence[Event]]) -> AsyncIterator[bytes]:
    """Yield batches as they are sent, `first` first."""
    yield RETRY + _events(first)
    try:
        async for batch in batches:
            yield _events(batch)
    except Exception as error:
        # The read model is rebuilt, or the query took too long: the client comes again with the last id.
        if status_of(error) is None:
            raise


def _events(batch: Sequence[Event]) -> bytes:
    return b"".join(map(_event, batch)) or NOTHING_NEW


def _event(event: Event) -> bytes:
    said = msgspec.json.encode(event._asdict())
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.kind.encode(), event.id.encode(), said)
