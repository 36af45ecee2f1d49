"""The page of the pipeline: instances, and partitions with the reason why they wait."""

from starlette.requests import Request
from starlette.responses import Response

from streamproc.console.answers.fleet import PartitionStatus
from streamproc.console.pages.rendering import PageRenderer, reads

RUNNING = "running"


async def pipeline(request: Request, renderer: PageRenderer) -> Response:
    """Show the page; its fragment is `main`."""
    answer = await reads(request).pipeline()
    lags = [item.lag_s for item in answer.items if item.lag_s is not None]
    return renderer.page(
        request,
        "pipeline",
        as_of=answer.as_of,
        answer=answer,
        rows=[(item, word(item)) for item in answer.items],
        troubled=sum(word(item) != RUNNING or item.is_stale for item in answer.items),
        most_behind_s=max(lags, default=None),
        lag_records=sum(item.lag_records or 0 for item in answer.items),
        console_behind=sum(answer.console_behind.values()),
    )


def word(item: PartitionStatus) -> str:
    """Return the state of a partition in one word: a running one with a reason to wait is paused."""
    return "paused" if item.state == RUNNING and item.reason else item.state
