"""`streamproc tail`: prints a topic's records as they come, or all existing ones. Read committed, without a group."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.escaping import escaped
from streamproc.interrupts import Interrupted, cancelled, stop_on_signal, unless_stopped
from streamproc.printing import Consoles, ReaderGone, print_line, write_line
from streamproc.records.kinds import KINDS, TopicKind, document, is_of
from streamproc.records.lines import line
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Gone, Kafka, TopicPartition, Unreadable
from streamproc.runtime.reading import FETCH_RECORDS, FETCH_S
from streamproc.runtime.topics import partitions_of

RETRY_S = 1.0


class Tail(NamedTuple):
    """What to print. `kind`: a name of KINDS; `run_id`: only records about that run."""

    kind: str
    run_id: str | None = None
    from_beginning: bool = False
    follow: bool = True
    as_json: bool = False


async def tail(kafka: Kafka, topics: TopicSettings, wanted: Tail, consoles: Consoles) -> None:
    """Print records until interrupted, or until the end of the topic; raises ConfigError, BrokerUnavailable.

    While following, a failure is printed once on the error console, and retried.
    """
    kind = KINDS[wanted.kind]
    topic = topics.by_role().get(kind.role)
    if topic is None:
        raise ConfigError(f"no {wanted.kind} are written under these settings (`streamproc describe`)")
    count = await partitions_of(kafka, topic)
    shown = _ShownRecords(kind, wanted, consoles)
    with stop_on_signal() as stop, suppress(Interrupted):
        await unless_stopped(stop, shown.all_of(kafka, topic, count), "all was shown")


class _ShownRecords:
    def __init__(self, kind: TopicKind, wanted: Tail, consoles: Consoles) -> None:
        self._kind = kind
        self._wanted = wanted
        self._consoles = consoles
        self._trouble = ""

    async def all_of(self, kafka: Kafka, topic: str, count: int) -> None:
        """Print all partitions concurrently; stops when the reader of the output is gone."""
        tasks = [asyncio.create_task(self._show(kafka, TopicPartition(topic, number))) for number in range(count)]
        try:
            with suppress(ReaderGone):
                await asyncio.gather(*tasks)
        finally:
            await cancelled(*tasks)

    async def _show(self, kafka: Kafka, place: TopicPartition) -> None:
        first, last = await kafka.bounds(*place)
        reader = await kafka.reader(*place)
        follow = self._wanted.follow
        try:
            await reader.seek(last if follow and not self._wanted.from_beginning else first)
            while follow or await reader.position() < last:
                try:
                    records = (await reader.fetch(FETCH_RECORDS, FETCH_S)).records
                except BrokerUnavailable as error:
                    if not follow:
                        raise
                    self._say(str(error))
                    await asyncio.sleep(RETRY_S)
                except Gone as gone:  # Retention was quicker, or the topic was made anew.
                    await reader.seek(gone.first or 0)
                except Unreadable as error:
                    self._say(f"{error}; it is skipped")
                    await reader.seek(error.last + 1)
                else:
                    self._print(place, [record for record in records if follow or record.offset < last])
        finally:
            await reader.close()

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            print_line(self._consoles.err, escaped(trouble))

    def _print(self, place: TopicPartition, records: Iterable[Arrival]) -> None:
        for record in records:
            if self._wanted.run_id is None or is_of(record, self._wanted.run_id):
                fields = document(self._kind, *place, record)
                text = json.dumps(fields) if self._wanted.as_json else line(self._wanted.kind, fields)
                write_line(self._consoles.out, text)
