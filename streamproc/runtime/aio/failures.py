"""A broken connection is a KafkaError, whenever it is noticed: of all else aiokafka's own tasks end, in silence."""

from functools import wraps
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.contacts import SASL_HANDSHAKE, offered
from streamproc.runtime.aio.requests import count
from streamproc.runtime.aio.sessions import SASL_AUTHENTICATE, logged_in

_write, _ask = AIOKafkaConnection.send, AIOKafkaClient.send


def refuse_deaf(consumer: Any) -> None:
    """Raise BrokerUnavailable where the consumer's task for metadata has ended: it finds no coordinator any more."""
    task = consumer._client._sync_task  # noqa: SLF001
    if task is not None and task.done():
        raise BrokerUnavailable("aiokafka's task for metadata has ended")


@wraps(_write)
def send_on_connection(self: Any, request: Any, *arguments: Any, **options: Any) -> Any:
    """After a reset, uvloop's transport refuses to write before anybody has heard of it (aiokafka#1038)."""
    count(request.API_KEY)
    try:
        answering = _write(self, request, *arguments, **options)
        if request.API_KEY == SASL_HANDSHAKE:
            return offered(self, answering)
        return logged_in(self, answering) if request.API_KEY == SASL_AUTHENTICATE else answering
    except RuntimeError as error:
        if type(error) is not RuntimeError:  # A KafkaError is one; so is what says that a broker's versions do not fit.
            raise
        self.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


@wraps(_ask)
async def send_by_client(
    self: Any, node_id: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT
) -> Any:
    """After a timeout aiokafka closes a connection that somebody else may have dropped: it looks for it in vain."""
    try:
        return await _ask(self, node_id, request, group=group)
    except KeyError as error:
        if error.args != ((node_id, group),):
            raise
        raise RequestTimedOutError from error
