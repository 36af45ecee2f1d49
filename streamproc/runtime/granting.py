"""Waiting for a right that was denied: the broker says whether it is there, so nothing is tried in vain."""

import asyncio

from streamproc.backoff import Backoff
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Kafka

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15.0
"""Somebody has to do something about it first: nothing is lost by asking less often."""


def patience() -> Backoff:
    """Return the waits between two questions."""
    return Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)


async def is_granted(kafka: Kafka, denied: Denied) -> bool:
    """Tell whether what was denied may be tried again."""
    try:
        return not await kafka.lacking(denied.rights)
    except BrokerUnavailable:
        return False


async def granted(kafka: Kafka, denied: Denied, backoff: Backoff) -> None:
    """Wait until what was denied may be tried again: a while at least, where the broker tells of no rights."""
    while True:
        await asyncio.sleep(backoff.failed())
        if await is_granted(kafka, denied):
            return
