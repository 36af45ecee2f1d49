"""One POST and its result. The result shows neither the request nor the response, only the status."""

from collections.abc import Mapping
from typing import NamedTuple

from streamproc.notify.observer import DeliveryResult
from streamproc.web.session import HttpSession, Response, Unanswered, Unsendable

MAX_ANSWER_BYTES = 65_536
TRY_AGAIN = frozenset((408, 425, 429))
OK, REDIRECT, SERVER_ERROR = 200, 300, 500


class PostResult(NamedTuple):
    """`status` None: no answer. `why` may be logged. `retry_after_s`: the wait that the receiver asks for."""

    result: DeliveryResult
    why: str
    status: int | None = None
    retry_after_s: float | None = None


class Poster(HttpSession):
    """Posts JSON."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> PostResult:
        """Send `body`; raises nothing, whatever a receiver or the network does."""
        sent = {"content-type": "application/json", **(headers or {})}
        try:
            async with self.request("POST", url, body, sent) as answer:
                outcome = _judge(answer)
                await answer.skim(MAX_ANSWER_BYTES)
                return outcome
        except Unsendable as error:
            return PostResult(DeliveryResult.REFUSED, str(error))
        except Unanswered as error:
            return PostResult(DeliveryResult.FAILED, str(error))


def _judge(answer: Response) -> PostResult:
    status = answer.status
    why = f"HTTP status {status}"
    if OK <= status < REDIRECT:
        return PostResult(DeliveryResult.DELIVERED, why, status)
    if status >= SERVER_ERROR or status in TRY_AGAIN:
        return PostResult(DeliveryResult.FAILED, why, status, answer.retry_after_s)
    return PostResult(DeliveryResult.REFUSED, why, status)
