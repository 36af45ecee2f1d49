"""Learns the schemas that framing headers point to; who holds them is somebody else's business."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streamproc.codec.framing import CONFLUENT_BYTES, CONFLUENT_MAGIC, label
from streamproc.errors import RecordRejected, RegistryUnavailable, RejectionReason
from streamproc.registry.answers import MAX_ID
from streamproc.registry.client import RegistryClient
from streamproc.registry.resolve import resolve

CONCURRENCY = 8
"""Schemas asked for at a time."""

Add = Callable[[bytes, dict[str, Any] | list[Any], str], Awaitable[None]]
Refuse = Callable[[bytes, RecordRejected], None]


class Learner:
    """Asks once for each id, however many partitions wait for it.

    `add(header, document, where)` is told what was found, `refuse(header, error)` what cannot be used; an `add` that
    raises RecordRejected refuses, too.
    """

    def __init__(self, client: RegistryClient, add: Add, refuse: Refuse) -> None:
        self._client = client
        self._add = add
        self._refuse = refuse
        self._turn = asyncio.Semaphore(CONCURRENCY)
        self._under_way: dict[bytes, asyncio.Task[None]] = {}

    async def learn(self, headers: Sequence[bytes]) -> None:
        """Find out about framing headers, a few at a time; the first is known when it returns.

        The others follow in their own time: whoever needs them asks again, which joins the question under way. Raises
        RegistryUnavailable where nothing is said of the first. To cancel it cancels no question: other partitions may
        wait for it, too.
        """
        tasks = [self._task(header) for header in dict.fromkeys(headers)]
        if not tasks:
            return
        await asyncio.wait(tasks[:1])
        if error := _error(tasks[0]):
            raise error

    async def close(self) -> None:
        """Give up what is under way."""
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
            task.exception()  # Looked at: whoever asked may have been cancelled.

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
    """Return the id to be asked for; raises RecordRejected where no registry can have it."""
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
