"""Working on a partition in the service's stead."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from streamproc.errors import ConfigError, TaskInvalid
from streamproc.interrupts import to_its_end
from streamproc.runtime.ports import Committed, Kafka, Outputs, TopicPartition

Commit = Callable[[Outputs, Committed], Awaitable[None]]
"""Writes one transaction, to its end even if it is interrupted."""


class Overruled(ConfigError):
    """Somebody else has fenced the partition since, or nobody says what became of the commit."""


@asynccontextmanager
async def fenced(
    kafka: Kafka, source: TopicPartition, flaw: str, way_out: str, others: Sequence[TopicPartition] = ()
) -> AsyncIterator[Commit]:
    """Fence a partition: what is read of it within is the last word, until somebody fences it in turn.

    `others`: partitions whose ids a worker may commit this one by, so that it looks at what is committed before it
    commits again, and fences us. Raises Overruled, which begins with `flaw`, where somebody has fenced us.
    """
    transactions = kafka.transactions(source)

    async def commit(outputs: Outputs, committed: Committed) -> None:
        await to_its_end(transactions.commit(outputs, {source: committed}))

    try:
        await kafka.fence(others)
        await transactions.fence()
        yield commit
    except TaskInvalid as error:
        raise Overruled(f"{flaw}, somebody else works on {source}: {error}. {way_out}") from error
    finally:
        await transactions.close()
