"""How single records are written apart from the pipeline. `aio` does it with aiokafka, the tests with a fake."""

from typing import Protocol

from streamproc.codec.message import Message


class Writer(Protocol):
    """Writes to one topic, in no transaction."""

    async def write(self, message: Message) -> None:
        """Write a message to the partition of its key, acknowledged; takes a bounded time.

        Raises BrokerUnavailable where Kafka does not take it for now (it may have, and nobody knows), ConfigError where
        somebody has to change something. Either way the next call tries anew. The topic is never created by it.
        """

    async def close(self) -> None:
        """Give up the connections; takes a bounded time."""
