"""The service with a real schema registry on a real Kafka: schemas learned, outputs registered, outages outlived."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamproc.codec.book import SchemaBook
from streamproc.codec.framing import confluent
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.profiles import ASSISTANTS
from streamproc.local.simulate import SimulatedEvent, simulate
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from tests.support.apicurio import Apicurio
from tests.support.runobjects import encode, run_object
from tests.support.service import Fleet
from tests.support.waiting import eventually

REFRAMED = "the outputs change their framing"
HEADER_BYTES = 10
LONG_OUTAGE_S = 60
SHORT_OUTAGE_S = 6
PER_SECOND = 400


@asynccontextmanager
async def _client(registry: Apicurio) -> AsyncIterator[RegistryClient]:
    async with RegistryClient(RegistrySettings(url=registry.url)) as client:
        yield client


def _document(note: str) -> dict[str, Any]:
    """A RunObject's schema of a producer's own, unlike any other."""
    base = load("run_object_v2_1").document
    extra = {"name": f"note_{note}", "type": ["null", "string"], "default": None}
    return {**base, "namespace": f"producer.{note}", "fields": [*base["fields"], extra]}


async def _registered(registry: Apicurio, service: Fleet, *notes: str) -> tuple[list[bytes], SchemaBook]:
    """Register schemas; return their headers, and a book that knows them."""
    headers, book = [], SchemaBook([], ASSISTANTS.shape, registered=True)
    async with _client(registry) as client:
        for note in notes:
            unique = f"{note}_{service.name.replace('-', '_')}"
            number = await client.register(f"{service.topics.events}-{note}", json.dumps(_document(unique)))
            headers.append(confluent(number))
            book.learn(confluent(number), WriterSchema(_document(unique), ASSISTANTS.shape, confluent(number)))
    return headers, book


def _reframed(events: Iterator[SimulatedEvent], header: bytes) -> Iterator[SimulatedEvent]:
    """The same events in the Confluent wire format, with the field that this producer has at the end, null."""
    for event in events:
        assert event.value is not None
        value = header + event.value[HEADER_BYTES:] + b"\x00"
        yield SimulatedEvent(event.key, value, event.timestamp_ms, event.kind)


async def test_registered_schemas_are_learned_and_outputs_are_framed_with_registered_ids(
    service: Fleet, real_registry: Apicurio
) -> None:
    """Outputs come in Confluent framing, subjects by TopicNameStrategy; rules.md 23: restored without it."""
    [header], book = await _registered(real_registry, service, "a")
    worker = service.start(REGISTRY__URL=real_registry.url)
    start_ms = int(time.time() * 1000)
    await service.send(_reframed(simulate(seed=1, events=1_000, start_ms=start_ms, bad_ratio=0), header))
    await service.drained()
    assert await service.check(book) == 1_000
    async with _client(real_registry) as client:
        for topic, name in ((service.topics.transitions, "run_transition"), (service.topics.state, "run_state")):
            record = next(iter(await service.read(topic, 0)))
            number = await client.lookup(f"{topic}-value", json.dumps(load(name).document))
            assert number is not None
            assert (record.value or b"")[:5] == confluent(number)
            assert dict(record.headers)["streamproc.schema"] == load(name).label.encode()
    [state, *_] = await service.read(service.topics.state, 0)
    assert f"id:{int.from_bytes(header[1:], 'big')}".encode() in (state.value or b"")
    assert worker.stop() == 0
    again = service.start(REGISTRY__OUTPUTS="off", REGISTRY__URL=real_registry.url)
    await service.send(_reframed(simulate(seed=2, events=200, start_ms=start_ms, bad_ratio=0), header))
    await service.drained()
    assert await service.check(book) == 1_200
    assert again.stop() == 0
    assert worker.events(REFRAMED) == []
    [told] = again.events(REFRAMED)
    assert (told["before"], told["now"]) == ("confluent", "single_object")
    assert "STREAMPROC_OUTPUTS__FRAMING=confluent" in told["advice"]


async def test_outputs_that_are_not_registered_and_may_not_be_stop_the_start_with_the_remedy(
    service: Fleet, real_registry: Apicurio
) -> None:
    worker = service.start(REGISTRY__OUTPUTS="check", REGISTRY__URL=real_registry.url)
    assert await worker.end() == 1
    assert f"{service.topics.transitions}-value" in worker.output()
    assert "STREAMPROC_REGISTRY__OUTPUTS=register" in worker.output()


async def test_an_id_that_nobody_registered_is_a_dead_letter(service: Fleet, real_registry: Apicurio) -> None:
    """Also one beyond Java's ints, to which Apicurio's answer is no "not found": it pauses no partition."""
    service.start(REGISTRY__URL=real_registry.url)
    payload = encode(WriterSchema(_document("x"), ASSISTANTS.shape), run_object(note_x=None))
    for header in (confluent(2_000_000_000), b"\x00\xff\xff\xff\xff"):
        await service.send_records((b"run_1", header + payload, int(time.time() * 1000), []))
    await eventually(service.is_done)
    letters = [dict(letter.headers) for letter in await service.read(service.topics.dead_letters, 0)]
    assert [why["streamproc.error.reason"] for why in letters] == [b"unknown_schema"] * 2
    assert b"2000000000" in letters[0]["streamproc.error.message"]
    assert b"4294967295" in letters[1]["streamproc.error.message"]


@pytest.mark.parametrize(
    "outage_s", [SHORT_OUTAGE_S, pytest.param(LONG_OUTAGE_S, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
async def test_a_registry_that_is_away_in_mid_stream_loses_nothing_and_dead_letters_nothing(
    service: Fleet, real_registry: Apicurio, outage_s: int
) -> None:
    """Only partitions that need the new id wait; the known one goes on; when it is back, all catch up by themselves."""
    [known, new], book = await _registered(real_registry, service, "known", "new")
    worker = service.start(REGISTRY__URL=real_registry.url, REGISTRY__TIMEOUT_S=2)
    start_ms = int(time.time() * 1000)
    events = list(simulate(seed=7, events=PER_SECOND * outage_s, start_ms=start_ms, bad_ratio=0))
    first = len(events) // 4
    await service.send(_reframed(iter(events[:first]), known))
    await service.drained()
    await eventually(worker.is_ready)
    real_registry.pause()
    try:
        began = time.monotonic()
        # From here on everybody writes with the new schema, but for the threads of one partition.
        waiting = _reframed(iter(events[first:]), new)
        await service.send((event for event in waiting if _partition(service, event) != 0), per_second=PER_SECOND)
        await service.send(event for event in _reframed(iter(events[first:]), known) if _partition(service, event) == 0)
        await eventually(lambda: _committed_all(service, 0))
        await eventually(lambda: _is_paused(worker))
        while time.monotonic() - began < outage_s:
            await asyncio.sleep(0.2)
        assert (await worker.get("/livez"))[0] == 200
        code, body = await worker.get("/readyz")
        assert code == 503
        assert json.loads(body)["status"] == "paused"
        assert not await service.is_done()
    finally:
        real_registry.resume()
    back = time.monotonic()
    await service.drained()
    print(f"caught up {time.monotonic() - back:.1f} s after an outage of {outage_s} s")
    await eventually(worker.is_ready)
    assert await service.check(book) == len(events)
    assert not any([await service.read(service.topics.dead_letters, number) for number in range(4)])
    assert 'streamproc_partitions_paused{reason="registry"} 0' in (await worker.get("/metrics"))[1]
    assert worker.stop() == 0


def _partition(service: Fleet, event: SimulatedEvent) -> int:
    return service.kafka.partition_of(event.key, service.partitions)


async def _committed_all(service: Fleet, partition: int) -> bool:
    _, end = await service.kafka.bounds(service.topics.events, partition)
    committed = await service.kafka.committed(service.source(partition))
    return committed is not None and committed.offset == end


async def _is_paused(worker: Any) -> bool:
    body = (await worker.get("/metrics"))[1]
    return 'streamproc_partitions_paused{reason="registry"} 3' in body


async def test_a_registry_that_is_away_at_the_start_is_waited_for(service: Fleet, real_registry: Apicurio) -> None:
    """The ids of the output schemas are needed: alive, not ready, and it says what it waits for; a stop is quick."""
    real_registry.pause()
    try:
        worker = service.start(REGISTRY__URL=real_registry.url, REGISTRY__TIMEOUT_S=1)
        stopped = service.start(REGISTRY__URL=real_registry.url, REGISTRY__TIMEOUT_S=1)
        asking = service.start(REGISTRY__URL=real_registry.url, REGISTRY__TIMEOUT_S=100)
        await eventually(lambda: bool(worker.events("waiting")) and bool(stopped.events("waiting")))
        assert (await worker.get("/livez"))[0] == 200
        code, body = await worker.get("/readyz")
        assert (code, json.loads(body)["status"]) == (503, "starting")
        assert "output schemas" in json.loads(body)["message"]
        await eventually(lambda: bool(asking.events("started")))
        assert not asking.events("waiting"), "its question is still under way"
        for each in (stopped, asking):
            assert each.stop() == 0
    finally:
        real_registry.resume()
    await eventually(worker.is_ready)
    assert worker.stop() == 0
    assert os.environ.get("STREAMPROC_REGISTRY__URL") is None
