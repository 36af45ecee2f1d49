"""A broken connection is a KafkaError, whenever it is noticed: of anything else aiokafka's own tasks end, in silence.

The methods are replaced for every client of the process.
"""

from functools import wraps
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError, RequestTimedOutError

from streamproc.errors import BrokerUnavailable

_write, _ask = AIOKafkaConnection.send, AIOKafkaClient.send


def only_kafka_errors() -> None:
    """Let every client of the process raise KafkaError for a broken connection, and nothing else."""
    AIOKafkaConnection.send = _sent
    AIOKafkaClient.send = _answered


def refuse_ended(consumer: Any) -> None:
    """Raise BrokerUnavailable where a task of the consumer's own has ended: it would return nothing for ever."""
    own = {"metadata": consumer._client._sync_task, "fetches": consumer._fetcher._fetch_task}  # noqa: SLF001
    for name, task in own.items():
        if task is not None and task.done():
            raise BrokerUnavailable(f"aiokafka's task for {name} has ended")


@wraps(_write)
def _sent(self: Any, *arguments: Any, **options: Any) -> Any:
    """After a reset, uvloop's transport refuses to write before anybody has heard of it (aiokafka#1038)."""
    try:
        return _write(self, *arguments, **options)
    except KafkaError:
        raise
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


@wraps(_ask)
async def _answered(self: Any, *arguments: Any, **options: Any) -> Any:
    """After a timeout aiokafka closes a connection that somebody else may have dropped: it looks for it in vain."""
    try:
        return await _ask(self, *arguments, **options)
    except KeyError as error:
        raise RequestTimedOutError from error
