"""Learns the schemas that framing headers point to; the caller stores them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streamproc.codec.framing import CONFLUENT_BYTES, CONFLUENT_MAGIC, label
from streamproc.errors import RecordRejected, RegistryUnavailable, RejectionReason
from streamproc.registry.answers import MAX_ID
from streamproc.registry.client import RegistryClient
from streamproc.registry.resolve import resolve

CONCURRENCY = 8
"""How many schemas are requested at the same time."""

Add = Callable[[bytes, dict[str, Any] | list[Any], str], Awaitable[None]]
Refuse = Callable[[bytes, RecordRejected], None]


class Learner:
    """Asks once for each id, however many partitions wait for it.

    Calls `add(header, document, where)` for a schema, `refuse(header, error)` for one that cannot be used. If `add`
    raises RecordRejected, `refuse` is called as well.
    """

    def __init__(self, client: RegistryClient, add: Add, refuse: Refuse) -> None:
        self._client = client
        self._add = add
        self._refuse = refuse
        self._turn = asyncio.Semaphore(CONCURRENCY)
        self._under_way: dict[bytes, asyncio.Task[None]] = {}

    async def learn(self, headers: Sequence[bytes]) -> None:
        """Learn the schemas of framing headers, a few at a time; the first is known when this returns.

        The others follow later: a second call for them joins the request that is under way. Raises RegistryUnavailable
        where the first is not answered. Cancelling this call cancels no request: other partitions may wait for it.
        """
        tasks = [self._task(header) for header in dict.fromkeys(headers)]
        if not tasks:
            return
        await asyncio.wait(tasks[:1])
        if error := _error(tasks[0]):
            raise error

    async def close(self) -> None:
        """Cancel all requests."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, header: bytes) -> asyncio.Task[None]:
        task = self._under_way.get(header)
        if task is None:
            task = self._under_way[header] = asyncio.create_task(self._find(header))
            task.add_done_callback(lambda done: self._end(header, done))
        return task

    def _end(self, header: bytes, task: asyncio.Task[None]) -> None:
        del self._under_way[header]
        if not task.cancelled():
            task.exception()  # Retrieved here, because the caller may have been cancelled.

    async def _find(self, header: bytes) -> None:
        try:
            schema_id = _id(header)
            async with self._turn:
                document, where = await resolve(self._client, schema_id)
            await self._add(header, document, where)
        except RecordRejected as error:
            self._refuse(header, error)


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return (
        RegistryUnavailable("the registry is no longer asked: we are stopping")
        if task.cancelled()
        else task.exception()
    )


def _id(header: bytes) -> int:
    """Return the id in a header; raises RecordRejected where no registry can have it."""
    if header[0] != CONFLUENT_MAGIC or len(header) != CONFLUENT_BYTES:
        raise RecordRejected(
            RejectionReason.UNKNOWN_SCHEMA,
            f"schema {label(header)} is not known, and a registry is asked for ids only: "
            "`streamproc describe` lists the schemas that are known",
        )
    schema_id = int.from_bytes(header[1:], "big")
    if schema_id > MAX_ID:
        # Not asked: what registries answer to it is no "not found", and the partition would wait for ever.
        raise RecordRejected(
            RejectionReason.UNKNOWN_SCHEMA, f"id {schema_id} is none that a registry gives: they end at {MAX_ID}"
        )
    return schema_id
