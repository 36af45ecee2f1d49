"""Asking the broker that coordinates a group or a transactional id, wherever it has moved to."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NotCoordinatorError,
    RequestTimedOutError,
)
from aiokafka.protocol.transaction import InitProducerIdRequest

from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import error_of

ENDING_S = 3.0
"""For a transaction to end that was open: that takes milliseconds, unless a partition takes no markers."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.02, 0.2
"""Before the same is asked again; longer each time. A transaction's markers are written within milliseconds."""
MOVED = CoordinatorNotAvailableError, NotCoordinatorError
BUSY = CoordinatorLoadInProgressError, ConcurrentTransactions
NOT_FOUND = *MOVED, CoordinatorLoadInProgressError, KafkaConnectionError, NodeNotReadyError, RequestTimedOutError

Codes = Callable[[Any], Iterable[int]]
"""Takes the error codes out of an answer."""


class Coordinator:
    """The coordinator of one group or transactional id.

    `trouble`: why the question in hand is being asked again; None where it is not. Whoever sets a deadline finds there
    what it was spent on. `unanswered`: how many requests had no answer; they may still arrive.
    """

    def __init__(self, client: Client, kind: CoordinationType, key: str) -> None:
        self._client = client
        self._kind = kind
        self._key = key
        self._node: Any = None
        self.trouble: KafkaError | None = None
        self.unanswered = 0

    async def ask(self, request: Any, codes: Codes, busy: tuple[type[KafkaError], ...] = BUSY) -> Any:
        """Return the answer, asking again for as long as it is that the coordinator moved, or is busy.

        Any other error is in the answer. Raises KafkaError where none came: nobody knows what became of the request.
        Takes no more time than the caller allows.
        """
        wait_s = FIRST_WAIT_S
        while True:
            response = await self._asked(request)
            if response is not None:
                errors = [error for code in codes(response) if (error := error_of(code)) is not None]
                self.trouble = next((error for error in errors if isinstance(error, (*MOVED, *busy))), None)
                if self.trouble is None:
                    return response
                if isinstance(self.trouble, MOVED):
                    self._node = None
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _asked(self, request: Any) -> Any:
        """Return one answer; None where nothing was sent, for want of a coordinator or of a connection to it."""
        try:
            if self._node is None:
                self._node = await self._client.coordinator_lookup(self._kind, self._key)
        except NOT_FOUND as error:
            self.trouble = error
            return None
        self.unanswered += 1
        try:
            response = await self._client.send(self._node, request, group=ConnectionGroup.COORDINATION)
        except NodeNotReadyError as error:
            self.trouble, self._node, response = error, None, None
        self.unanswered -= 1
        return response


def one_code(response: Any) -> tuple[int]:
    """Take the error code out of an answer that has one."""
    return (response.error_code,)


async def producer_of(coordinator: Coordinator, transactional_id: str, timeout_ms: int) -> tuple[int, int]:
    """Return a new producer id and epoch, once every earlier producer of this id is fenced and its transaction ended.

    Raises KafkaError; ConcurrentTransactions where that does not end within ENDING_S.
    """
    request = InitProducerIdRequest(transactional_id, timeout_ms)
    try:
        async with asyncio.timeout(ENDING_S):
            response = await coordinator.ask(request, one_code)
    except TimeoutError:
        if isinstance(coordinator.trouble, ConcurrentTransactions):
            raise coordinator.trouble from None
        # It takes so long for another reason, and how long that may is up to the caller.
        response = await coordinator.ask(request, one_code)
    error = error_of(response.error_code)
    if error is not None:
        raise error
    return response.producer_id, response.producer_epoch
