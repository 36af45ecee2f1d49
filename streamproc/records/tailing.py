"""`streamproc tail`: a topic's records as they come, or all that are there. Read committed, without a group."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from rich.console import Console

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.interrupts import Interrupted, cancelled, stop_on_signal, unless_stopped
from streamproc.printing import ReaderGone, write_line
from streamproc.records.kinds import KINDS, Kind, document, is_of
from streamproc.records.lines import line
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Gone, Kafka, TopicPartition
from streamproc.runtime.reading import FETCH_RECORDS, FETCH_S, read_all

RETRY_S = 1.0


class Tail(NamedTuple):
    """What to show. `kind`: a name of KINDS; `run_id`: only what is about that run."""

    kind: str
    run_id: str | None = None
    from_beginning: bool = False
    follow: bool = True
    as_json: bool = False


async def tail(kafka: Kafka, topics: TopicSettings, wanted: Tail, console: Console) -> None:
    """Print records until interrupted, or until all that there are have been; raises ConfigError, BrokerUnavailable."""
    kind = KINDS[wanted.kind]
    topic = topics.by_role().get(kind.role)
    if topic is None:
        raise ConfigError(f"no {wanted.kind} are written under these settings (`streamproc describe`)")
    count = await kafka.partition_count(topic)
    if not count:
        raise ConfigError(f"{topic} does not exist: run `streamproc topics create`")
    shown = _Shown(kind, wanted, console)
    with stop_on_signal() as stop, suppress(Interrupted):
        await unless_stopped(stop, shown.all_of(kafka, topic, count), "all was shown")


class _Shown:
    def __init__(self, kind: Kind, wanted: Tail, console: Console) -> None:
        self._kind = kind
        self._wanted = wanted
        self._console = console

    async def all_of(self, kafka: Kafka, topic: str, count: int) -> None:
        """Show all partitions at the same time; until nobody reads any more, at the longest."""
        read = self._follow if self._wanted.follow else self._read
        tasks = [asyncio.create_task(read(kafka, TopicPartition(topic, partition))) for partition in range(count)]
        try:
            with suppress(ReaderGone):
                await asyncio.gather(*tasks)
        finally:
            await cancelled(*tasks)

    async def _read(self, kafka: Kafka, place: TopicPartition) -> None:
        async for records in read_all(kafka, place):
            self._print(place, records)

    async def _follow(self, kafka: Kafka, place: TopicPartition) -> None:
        first, last = await kafka.bounds(*place)
        reader = await kafka.reader(*place)
        try:
            await reader.seek(first if self._wanted.from_beginning else last)
            while True:
                try:
                    fetched = await reader.fetch(FETCH_RECORDS, FETCH_S)
                except BrokerUnavailable:
                    await asyncio.sleep(RETRY_S)
                except Gone as gone:  # Retention was quicker, or the topic was made anew.
                    await reader.seek(gone.first or 0)
                else:
                    self._print(place, fetched.records)
        finally:
            await reader.close()

    def _print(self, place: TopicPartition, records: Iterable[Arrival]) -> None:
        for record in records:
            if self._wanted.run_id is None or is_of(record, self._wanted.run_id):
                said = document(self._kind, *place, record)
                write_line(self._console, json.dumps(said) if self._wanted.as_json else line(self._wanted.kind, said))
