"""Reads run-alerts for one receiver, and commits its position."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from streamproc.codec.alerts import decode_alert
from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable, RecordRejected
from streamproc.notify.complaints import Complaints
from streamproc.notify.observer import DeliveryResult, PushObserver
from streamproc.notify.sink import Sink
from streamproc.runtime.feed import Assigned, Feed
from streamproc.runtime.ports import Committed

FETCH_S = 0.5
COMMIT_S = 1.0
LAST_COMMIT_S = 0.7

log = structlog.get_logger(__name__)


class Subscription:
    """One subscription, from its start to its first failure."""

    def __init__(self, feed: Feed, sink: Sink, observer: PushObserver) -> None:
        self._feed = feed
        self._sink = sink
        self._observer = observer
        self._stored: dict[int, Committed] = {}
        self._complaints = Complaints({"receiver": sink.name})

    async def run(self) -> None:
        """Read and deliver until cancelled; raises failures, such as BrokerUnavailable, in an exception group."""
        try:
            await self._feed.start(self._sink.clear)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_noticed(self._read()))
                tasks.create_task(_noticed(self._store_regularly()))
                tasks.create_task(self._sink.run())
        finally:
            # This only saves the next subscription repetitions.
            with suppress(BrokerUnavailable, TimeoutError):
                async with asyncio.timeout(LAST_COMMIT_S):
                    await self._store()
            self._sink.clear()
            self._observer.waiting(self._sink.name, 0)
            await self._feed.close()

    async def _read(self) -> None:
        while True:
            await self._sink.room()
            fetched = await self._feed.fetch(FETCH_S)
            if isinstance(fetched, Assigned):
                self._assign(fetched)
                continue
            for partition, records in fetched.records.items():
                self._take(partition, records)
                # Records at hand come without a wait: a long backlog must leave the pipeline its turns.
                await asyncio.sleep(0)
            self._sink.release(fetched.caught_up)

    def _assign(self, assigned: Assigned) -> None:
        starts = assigned.starts
        self._stored = {number: start.committed for number, start in starts.items() if start.committed is not None}
        self._sink.assign(starts)
        log.info("reading alerts", receiver=self._sink.name, partitions=sorted(starts))
        for number, start in starts.items():
            if start.committed is not None and start.begin != start.committed.offset:
                log.warning(
                    "alerts are gone from the topic that may not have been delivered: raise its retention, if that is "
                    "too short",
                    receiver=self._sink.name,
                    partition=number,
                    expected=start.committed.offset,
                    first=start.begin,
                )

    def _take(self, partition: int, records: Sequence[Arrival]) -> None:
        for record in records:
            try:
                alert = decode_alert(record)
            except RecordRejected as error:
                where = {"partition": partition, "offset": record.offset}
                log.warning(
                    "a record is not an alert, it is skipped", receiver=self._sink.name, why=str(error), **where
                )
                self._observer.sent(self._sink.name, DeliveryResult.DROPPED, 1)
                self._sink.skip(partition, record.offset)
            else:
                self._sink.take(partition, record.offset, alert, record.timestamp)

    async def _store_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            try:
                await self._store()
            except BrokerUnavailable as error:
                # No end of the subscription: alerts known to fire have to be sent again all the same.
                self._complaints.warn("how far alerts were delivered cannot be stored for now", str(error))
            self._observer.waiting(self._sink.name, self._sink.waiting)

    async def _store(self) -> None:
        offsets = self._sink.settle()
        news = {number: committed for number, committed in offsets.items() if self._stored.get(number) != committed}
        if news and await self._feed.commit(news):
            self._stored.update(news)


async def _noticed(work: Coroutine[Any, Any, None]) -> None:
    """Turn a cancellation that nobody asked for, as aiokafka may raise it, into an error: a group would overlook it."""
    try:
        await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable("the subscription was cancelled from within") from None
