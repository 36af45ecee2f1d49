"""A schema registry behind the runtime's port, with faults on request."""

import asyncio
from collections.abc import Callable, Sequence

from streamproc.codec.book import SchemaBook
from streamproc.codec.framing import confluent, label
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import RecordRejected, RegistryUnavailable, RejectionReason
from tests.support.books import RUN_OBJECT_VERSIONS, bundled_book

IDS = {version: 101 + number for number, version in enumerate(RUN_OBJECT_VERSIONS)}
"""Of the RunObject's versions; further ids up to MAX_KNOWN are the last one."""
MAX_KNOWN = 1_000


def registered(schema_id: int) -> WriterSchema | None:
    """Return the schema of an id, None where the registry does not know it."""
    if schema_id > MAX_KNOWN:
        return None
    version = next((version for version, known in IDS.items() if known == schema_id), RUN_OBJECT_VERSIONS[-1])
    return WriterSchema(load(f"run_object_{version}").document, ASSISTANTS.shape, confluent(schema_id))


def full_book() -> SchemaBook:
    """Return a book that knows beforehand what can be asked for of IDS: what every other one must come to."""
    known = [schema for schema in map(registered, IDS.values()) if schema is not None]
    return SchemaBook([*bundled_book(), *known], ASSISTANTS.shape)


class FakeRegistry:
    """Answers into `book`. `fault` is called before each answer; `asked`: each question's headers."""

    def __init__(self, book: SchemaBook, fault: Callable[[], None] = lambda: None) -> None:
        self.book = book
        self.fault = fault
        self.is_away = False
        self.hangs = False
        self.asked: list[tuple[bytes, ...]] = []
        self.asking = 0

    async def learn(self, headers: Sequence[bytes]) -> None:
        """Find out about headers."""
        self.asked.append(tuple(headers))
        self.asking += 1
        try:
            await self._learn(headers)
        finally:
            self.asking -= 1

    async def _learn(self, headers: Sequence[bytes]) -> None:
        while self.hangs:
            await asyncio.sleep(0.005)
        for header in headers:
            await asyncio.sleep(0)
            self.fault()
            if self.is_away:
                raise RegistryUnavailable("the registry at http://registry:8081 does not answer")
            number = int(label(header).removeprefix("id:"))
            schema = registered(number)
            if schema is None:
                self.book.refuse(header, RecordRejected(RejectionReason.UNKNOWN_SCHEMA, f"id {number} is not known"))
            else:
                self.book.learn(header, schema)
