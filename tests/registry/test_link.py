"""The service and its registry: schemas compiled beside the loop, a start that waits and can be stopped."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.framing import confluent
from streamproc.codec.schemas import WriterSchema
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import RecordRejected
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.link import OUTPUTS, RegistryLink
from streamproc.runtime.config import TopicSettings
from tests.support.receiver import Got, never, status
from tests.support.registry import Stub, answer, reference
from tests.support.runobjects import arrivals
from tests.support.waiting import Deadline, eventually

FIELDS = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]
RUN = {"type": "record", "name": "Run", "fields": FIELDS}
COUNT = 4
BEATS = 5
LIMIT_S = 60


@pytest.fixture
def book() -> SchemaBook:
    return SchemaBook([], ASSISTANTS.shape, registered=True)


@pytest.fixture
async def link(registry: Stub, book: SchemaBook) -> AsyncIterator[RegistryLink]:
    settings = RegistrySettings(url=registry.url, timeout_s=100)
    async with RegistryClient(settings) as client:
        it = RegistryLink(settings, "confluent", TopicSettings(), client, book)
        yield it
        await it.learner.close()


async def test_a_schema_that_cannot_be_used_is_refused_by_name(
    registry: Stub, link: RegistryLink, book: SchemaBook
) -> None:
    registry.put(1, {**RUN, "fields": FIELDS[:1]})
    registry.put_places(1, ("run-events-value", 3))
    await link.learner.learn([confluent(1)])
    with pytest.raises(RecordRejected, match=r"id 1 \(run-events-value version 3\): .*status is missing") as error:
        book.find(confluent(1))
    assert error.value.reason == "unfit_schema"


async def test_an_odd_schema_with_references_is_taken_and_a_bad_one_is_refused_with_its_path(
    registry: Stub, link: RegistryLink, book: SchemaBook
) -> None:
    """A union at the top, a type that contains itself, names and attributes against the rules; and one that lacks."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 64, "scale": 127}
    fields = [{"name": "preis", "type": decimal}, {"name": "davor", "type": ["null", "Maß"], "aliases": None}]
    registry.put_version("odd", {"type": "record", "name": "größe.Maß", "fields": fields})
    registry.put_version("bad", {"type": "record", "name": "x.Bad", "fields": [{"name": "a", "type": "Lost"}]})
    for number, name, kind in ((1, "odd", "größe.Maß"), (2, "bad", "x.Bad")):
        run = {**RUN, "fields": [*FIELDS, {"name": "n", "type": "int", "default": "0"}, {"name": "mehr", "type": kind}]}
        registry.put(number, ["null", run], [reference(name)])
    await link.learner.learn([confluent(1)])
    payload = b"\x02\x02r\x0cqueued\x02" + b"\x02\xff" + b"\x02\x02\x01\x00"
    [event] = decode(arrivals(confluent(1) + payload), book).events
    assert (event.run_id, event.status, event.payload) == ("r", "queued", payload)
    await link.learner.learn([confluent(2)])
    with pytest.raises(RecordRejected, match=r"mehr\.a uses x\.Lost, which neither") as error:
        book.find(confluent(2))
    assert error.value.reason == "unfit_schema"


async def test_the_loop_goes_on_while_schemas_are_compiled_one_at_a_time(
    registry: Stub, link: RegistryLink, book: SchemaBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat that is late costs the membership: a wide schema takes 0.2 s, and there may be dozens."""
    now, most, beats, went_on = threading.Semaphore(1), [0], [0], []

    def compiled(*args: object) -> WriterSchema:
        most[0] += not now.acquire(blocking=False)
        wanted, deadline = beats[0] + BEATS, Deadline(LIMIT_S)
        while beats[0] < wanted and all(went_on) and not deadline.is_over():
            time.sleep(0.001)
        went_on.append(beats[0] >= wanted)
        now.release()
        return WriterSchema(*args)

    monkeypatch.setattr("streamproc.registry.link.WriterSchema", compiled)
    for number in range(COUNT):
        registry.put(number, RUN)

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.001)
            beats[0] += 1

    beating = asyncio.create_task(beat())
    await link.learner.learn([confluent(number) for number in range(COUNT)])
    await eventually(lambda: len(book._learned) == COUNT)
    beating.cancel()
    assert went_on == [True] * COUNT
    assert most == [0]


async def test_a_stop_while_the_registry_hangs_at_the_start_is_quick(registry: Stub, link: RegistryLink) -> None:
    """SIGTERM has 9 s; a question may have more."""
    registry.behave = never
    stop = asyncio.Event()
    waiting = asyncio.create_task(link.is_ready(lambda _: None, stop))
    await eventually(lambda: bool(registry.got))
    stop.set()
    async with asyncio.timeout(60):
        assert not await waiting


async def test_a_stop_before_the_start_asks_nothing(registry: Stub, link: RegistryLink) -> None:
    stop = asyncio.Event()
    stop.set()
    assert not await link.is_ready(lambda _: None, stop)
    assert registry.got == []


async def test_a_start_waits_for_the_registry_and_says_so(registry: Stub, link: RegistryLink) -> None:
    registry.behave = status(503)
    told: list[str] = []
    waiting = asyncio.create_task(link.is_ready(told.append, asyncio.Event()))
    await eventually(lambda: bool(told))
    assert "ids of the output schemas" in told[0]

    def known(got: Got) -> object:
        return answer({"id": 7})(got)

    registry.behave = known
    assert await waiting
    assert told[-1] == ""
    assert link.frames == dict.fromkeys(OUTPUTS, confluent(7))


async def test_a_start_without_ids_in_its_outputs_asks_nothing(registry: Stub, book: SchemaBook) -> None:
    settings = RegistrySettings(url=registry.url)
    async with RegistryClient(settings) as client:
        link = RegistryLink(settings, "single_object", TopicSettings(), client, book)
        assert await link.is_ready(lambda _: None, asyncio.Event())
    assert link.frames == {}
    assert registry.got == []
