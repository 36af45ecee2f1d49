"""Learning: each id is asked for once, a few at a time, and whatever is answered is handed over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from streamproc.codec.framing import confluent, single_object
from streamproc.errors import RecordRejected, RegistryUnavailable, RejectionReason
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.learner import CONCURRENCY, Learner
from tests.support.receiver import Got, status
from tests.support.registry import Stub, answer
from tests.support.waiting import eventually

PLAIN = {"type": "record", "name": "Run", "fields": []}


class Book:
    """What it was told."""

    def __init__(self) -> None:
        self.added: dict[bytes, tuple[Any, str]] = {}
        self.refused: dict[bytes, RecordRejected] = {}
        self.unfit: set[bytes] = set()

    async def add(self, header: bytes, document: dict[str, Any], where: str) -> None:
        if header in self.unfit:
            raise RecordRejected(RejectionReason.UNFIT_SCHEMA, "vetted")
        self.added[header] = document, where

    def refuse(self, header: bytes, error: RecordRejected) -> None:
        self.refused[header] = error


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
async def learner(registry: Stub, book: Book) -> AsyncIterator[Learner]:
    async with RegistryClient(RegistrySettings(url=registry.url, timeout_s=60)) as client:
        it = Learner(client, book.add, book.refuse)
        yield it
        await it.close()


class Gate:
    """Holds back every answer until it is opened; `most` were under way at a time."""

    def __init__(self, registry: Stub) -> None:
        self.open = asyncio.Event()
        self.now = self.most = 0
        self._registry = registry
        registry.behave = self

    async def __call__(self, got: Got) -> web.StreamResponse:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.open.wait()
        self.now -= 1
        return self._registry.known.get(got.raw_path, status(404))(got)


async def _learn_all(learner: Learner, *headers: bytes) -> None:
    """Whoever waits waits for the first only."""
    await asyncio.gather(*(learner.learn([header]) for header in headers))


async def test_what_is_found_is_added_and_what_is_not_is_refused(registry: Stub, learner: Learner, book: Book) -> None:
    registry.put(1, PLAIN)
    registry.put(2, "{")
    registry.put_places(1, ("s", 4))
    await _learn_all(learner, confluent(1), confluent(2), confluent(3))
    assert book.added == {confluent(1): (PLAIN, "id 1 (s version 4)")}
    assert {header: error.reason for header, error in book.refused.items()} == {
        confluent(2): "unfit_schema",
        confluent(3): "unknown_schema",
    }


async def test_what_the_book_cannot_use_is_refused(registry: Stub, learner: Learner, book: Book) -> None:
    registry.put(1, PLAIN)
    book.unfit.add(confluent(1))
    await learner.learn([confluent(1)])
    assert str(book.refused[confluent(1)]) == "vetted"


@pytest.mark.parametrize("header", [b"\x00\x80\x00\x00\x00", b"\x00\xff\xff\xff\xff"])
async def test_an_id_that_is_no_java_int_is_not_asked_for(
    registry: Stub, learner: Learner, book: Book, header: bytes
) -> None:
    """A real registry's answer to it is no "not found": the partition would wait for ever."""
    registry.behave = answer({"error_code": 0}, 404)
    await learner.learn([header])
    assert book.refused[header].reason == "unknown_schema"
    assert registry.got == []


async def test_the_largest_id_is_asked_for(registry: Stub, learner: Learner, book: Book) -> None:
    registry.put(2**31 - 1, PLAIN)
    await learner.learn([b"\x00\x7f\xff\xff\xff"])
    assert len(book.added) == 1


async def test_a_fingerprint_is_not_asked_for(registry: Stub, learner: Learner, book: Book) -> None:
    header = single_object("0123456789abcdef")
    await learner.learn([header])
    assert book.refused[header].reason == "unknown_schema"
    assert registry.got == []


async def test_nothing_to_learn_is_nothing_to_do(learner: Learner) -> None:
    await learner.learn([])


async def test_what_is_answered_is_handed_over_whatever_becomes_of_the_first(
    registry: Stub, learner: Learner, book: Book
) -> None:
    registry.put(1, PLAIN)
    registry.known["/schemas/ids/2"] = status(503)
    with pytest.raises(RegistryUnavailable, match="id 2"):
        await learner.learn([confluent(2), confluent(1), confluent(3)])
    await eventually(lambda: set(book.added) == {confluent(1)} and set(book.refused) == {confluent(3)})
    registry.put(2, PLAIN)
    await learner.learn([confluent(2)])
    assert set(book.added) == {confluent(1), confluent(2)}


async def test_who_needs_the_first_waits_for_no_other(registry: Stub, learner: Learner, book: Book) -> None:
    """And an outage of the others is none of his; who needs them joins the question under way."""
    gate = Gate(registry)
    registry.known["/schemas/ids/2"] = gate
    registry.behave = None
    registry.put(1, PLAIN)
    registry.known["/schemas/ids/3"] = status(503)
    await learner.learn([confluent(1), confluent(2), confluent(3)])
    assert set(book.added) == {confluent(1)}
    second = asyncio.create_task(learner.learn([confluent(2)]))
    await eventually(lambda: gate.now == 1)
    registry.known["/schemas/ids/2"] = answer({"schema": "{}"})
    gate.open.set()
    await second
    assert set(book.added) == {confluent(1), confluent(2)}
    assert registry.paths.count("/schemas/ids/2") == 1


async def test_an_id_is_asked_for_once_however_many_wait_for_it(registry: Stub, learner: Learner, book: Book) -> None:
    registry.put(1, PLAIN)
    gate = Gate(registry)
    waiting = [asyncio.create_task(learner.learn([confluent(1), confluent(1)])) for _ in range(5)]
    await eventually(lambda: gate.now == 1)
    gate.open.set()
    await asyncio.gather(*waiting)
    assert registry.paths.count("/schemas/ids/1") == 1
    assert set(book.added) == {confluent(1)}


async def test_a_partition_that_gives_up_spoils_nothing_for_the_others(
    registry: Stub, learner: Learner, book: Book
) -> None:
    registry.put(1, PLAIN)
    gate = Gate(registry)
    first, second = (asyncio.create_task(learner.learn([confluent(1)])) for _ in range(2))
    await eventually(lambda: gate.now == 1)
    first.cancel()
    await asyncio.wait([first])
    gate.open.set()
    await second
    assert set(book.added) == {confluent(1)}
    assert registry.paths.count("/schemas/ids/1") == 1


async def test_only_a_few_are_asked_for_at_a_time(registry: Stub, learner: Learner, book: Book) -> None:
    gate = Gate(registry)
    headers = [confluent(number) for number in range(3 * CONCURRENCY)]
    for number in range(3 * CONCURRENCY):
        registry.put(number, PLAIN)
    learning = asyncio.create_task(learner.learn(headers))
    await eventually(lambda: gate.now == CONCURRENCY)
    gate.open.set()
    await learning
    await eventually(lambda: set(book.added) == set(headers))
    assert gate.most == CONCURRENCY


async def test_closing_ends_what_is_under_way(registry: Stub, learner: Learner) -> None:
    gate = Gate(registry)
    learning = asyncio.create_task(learner.learn([confluent(1)]))
    await eventually(lambda: gate.now == 1)
    await learner.close()
    with pytest.raises(RegistryUnavailable, match="stopping"):
        await learning
    gate.open.set()


async def test_a_mistake_of_ours_is_not_taken_for_an_outage(registry: Stub, learner: Learner, book: Book) -> None:
    registry.put(1, PLAIN)
    book.add = None
    learner._add = book.add
    with pytest.raises(TypeError):
        await learner.learn([confluent(1)])
