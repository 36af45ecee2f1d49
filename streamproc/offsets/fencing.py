"""Fences a partition, to work on it on behalf of the service."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from streamproc.errors import ConfigError, TaskInvalid
from streamproc.interrupts import to_its_end
from streamproc.runtime.ports import Committed, Kafka, Outputs, TopicPartition

Commit = Callable[[Outputs, Committed], Awaitable[None]]
"""Writes one transaction, to its end even if cancelled."""


class Overruled(ConfigError):
    """Another process has fenced the partition since, or the outcome of the commit is unknown."""


@asynccontextmanager
async def fenced(
    kafka: Kafka, source: TopicPartition, flaw: str, way_out: str, others: Sequence[TopicPartition] = ()
) -> AsyncIterator[Commit]:
    """Fence a partition: its committed offset is final within this context, unless another process fences it in turn.

    `others`: partitions by whose transactional ids a worker may commit this one. They are fenced, too, so that the
    worker reads the committed offset before its next commit. Raises Overruled, which begins with `flaw`, where another
    process has fenced us.
    """
    transactions = kafka.transactions(source)

    async def commit(outputs: Outputs, committed: Committed) -> None:
        await to_its_end(transactions.commit(outputs, {source: committed}))

    try:
        await kafka.fence(others)
        await transactions.fence()
        yield commit
    except TaskInvalid as error:
        raise Overruled(
            f"{flaw} ({error}): another process took over {source}, or Kafka did not answer in time. {way_out}"
        ) from error
    finally:
        await transactions.close()
