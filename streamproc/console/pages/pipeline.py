"""Who does what: instances, and partitions with what holds them up."""

from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.answers.fleet import PartitionStatus
from streamproc.console.pages.rendering import PageRenderer, reads

RUNNING = "running"


async def pipeline(request: Request, renderer: PageRenderer) -> Response:
    """Show the page; its fragment is `main`."""
    found = await reads(request).pipeline()
    lags = [item.lag_s for item in found.items if item.lag_s is not None]
    return renderer.page(
        request,
        "pipeline",
        as_of=found.as_of,
        found=found,
        rows=[(item, word(item)) for item in found.items],
        troubled=sum(word(item) != RUNNING or item.is_stale for item in found.items),
        most_behind_s=max(lags, default=None),
        lag_records=sum(item.lag_records or 0 for item in found.items),
        console_behind=sum(found.console_behind.values()),
    )


def word(item: PartitionStatus) -> str:
    """Return the one word for how a partition is: one that has a reason not to go on waits."""
    return "paused" if item.state == RUNNING and item.reason else item.state
