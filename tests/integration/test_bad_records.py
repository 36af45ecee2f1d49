"""Bad records on a real Kafka: each good one is delivered once, each bad one is a dead letter once, as it was."""

import random
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer

from streamproc.local.simulate import SimulatedEvent, simulate
from streamproc.local.wire import BAD_VALUES
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.ports import Committed
from tests.support.runobjects import framed, run_object
from tests.support.service import Fleet
from tests.support.waiting import eventually

EVENTS = 4_000
BOMB_BYTES = 500 << 20
SMALLER_BOMB_BYTES, BOMBS = 60 << 20, 8
HEADER_BOMB_BYTES, HEADER_BOMBS = 16 << 20, 40
MIB = 1 << 20


def _spoilt(share: float, seed: int = 3) -> Iterator[SimulatedEvent]:
    """A stream in which a share of the records is bad, in every way there is."""
    rng = random.Random(seed)
    for event in simulate(seed=seed, events=EVENTS, start_ms=int(time.time() * 1000), bad_ratio=0):
        if event.value is not None and rng.random() < share:
            reason = rng.choice(sorted(BAD_VALUES))
            value = BAD_VALUES[reason](rng, event.value)
            yield SimulatedEvent(event.key, value, event.timestamp_ms, f"bad:{reason}")
        else:
            yield event


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
async def test_good_ones_are_delivered_once_and_bad_ones_are_dead_letters_once(service: Fleet, share: float) -> None:
    stream = list(_spoilt(share))
    bad = {event.value for event in stream if event.kind.startswith("bad:")}
    assert sum(event.kind.startswith("bad:") for event in stream) >= share * EVENTS / 2
    one, two = service.start(), service.start()
    await service.send(stream)
    await service.drained()
    for partition in range(service.partitions):
        source = await service.read(service.topics.events, partition)
        letters = await service.read(service.topics.dead_letters, partition)
        expected = [(record.key, record.value, record.offset) for record in source if record.value in bad]
        found = [(each.key, each.value, int(dict(each.headers)["streamproc.source.offset"])) for each in letters]
        assert found == expected
    assert await service.check() == EVENTS
    assert [one.stop(), two.stop()] == [0, 0]
    assert "s3cr3t" not in "".join(str(line) for worker in (one, two) for line in worker.lines())


async def test_statuses_are_mapped_and_unknown_ones_are_dead_letters_where_the_settings_say_so(service: Fleet) -> None:
    """rules.md 14: a run that would never end for the spelling of its status does; one in none of them is nobody's."""
    worker = service.start(INPUT__STATUSES='{"Completed": "completed"}', INPUT__UNKNOWN_STATUSES="reject")
    said = ("queued", "Completed", "in-progress")
    events = [framed("v2_1", run_object(status=status)) for status in said]
    await service.send_records(*((b"run_1", event, int(time.time() * 1000), []) for event in events))
    await eventually(service.is_done)
    partitions = range(service.partitions)
    [letter] = [each for number in partitions for each in await service.read(service.topics.dead_letters, number)]
    moved = [each for number in partitions for each in await service.read(service.topics.transitions, number)]
    headers = dict(letter.headers)
    assert (letter.value, headers["streamproc.error.reason"]) == (events[2], b"unknown_status")
    assert b"in-progress is none of the profile's; did you mean in_progress?" in headers["streamproc.error.message"]
    assert len(moved) == 2
    assert worker.stop() == 0


async def test_compression_bombs_take_neither_the_memory_nor_the_service(service: Fleet) -> None:
    """rules.md 10: what can be read is a dead letter, one after the other; what cannot stops its own partition."""
    await service.send_records((b"run_1", framed("v2_1", run_object()), int(time.time() * 1000), []))
    await _send_bombs(service, SMALLER_BOMB_BYTES, BOMBS)
    await _send_header_bombs(service)
    worker = service.start()  # It gets all of them in one answer.
    peak = 0

    async def small_ones_are_done() -> bool:
        nonlocal peak
        peak = max(peak, worker.peak_bytes())
        return await service.is_done()

    await eventually(small_ones_are_done)
    await _send_bombs(service, BOMB_BYTES, 1)

    def paused() -> list[str]:
        nonlocal peak
        peak = max(peak, worker.peak_bytes())
        return [line["why"] for line in worker.events("paused") if line["reason"] == "unreadable"]

    await eventually(lambda: bool(paused()))
    offset = 1 + BOMBS + HEADER_BOMBS + 1
    assert f"offset {offset} of {service.topics.events} partition 0 cannot be read" in paused()[0]
    assert "kafka.max_batch_bytes" in paused()[0]
    assert 0 < peak < 400 * MIB, "the bomb alone has 500 MiB; so have the smaller ones together, and the headers"
    assert worker.stop() == 0
    assert len(await service.read(service.topics.transitions, 0)) == 1
    letters = await service.read(service.topics.dead_letters, 0)
    said = [(letter.value, dict(letter.headers)["streamproc.size"]) for letter in letters]
    assert said == [(bytes(65_536), str(SMALLER_BOMB_BYTES).encode())] * BOMBS + [(b"x", b"1")] * (HEADER_BOMBS + 1)
    assert b"the record has 16,000,000 headers" in dict(letters[-1].headers)["streamproc.error.message"]


async def test_a_header_name_that_is_no_utf8_is_no_reason_to_reject_a_record_or_to_end(service: Fleet) -> None:
    """Kafka takes any bytes. The good ones are delivered, a bad one is a dead letter with its headers as they came."""
    now_ms, odd = int(time.time() * 1000), b"\xff\xfe name".decode("utf-8", "surrogateescape")
    headers = [("trace", b"1"), (odd, b"\xff"), ("trace", b"")]
    values = [framed("v2_1", run_object(id="run_1", status=each)) for each in ("queued", "in_progress", "completed")]
    sent = [(b"run_1", values[0], now_ms, []), (b"run_1", values[1], now_ms, headers)]
    sent += [(b"run_1", b"rubbish", now_ms, headers), (b"run_1", values[2], now_ms, [])]
    worker = service.start()
    other = AioKafka(service.settings, f"{service.name}-other")
    transactions = other.transactions(service.source(0))
    await transactions.fence()
    await transactions.commit({service.source(0): sent}, {service.source(0): Committed(0, "")})
    await transactions.close()
    await other.close()
    await eventually(lambda: _there(service, service.topics.transitions, 3))
    assert worker.stop() == 0
    (letter,) = await service.read(service.topics.dead_letters, 0)
    assert list(letter.headers[: len(headers)]) == headers
    assert letter.value == b"rubbish"
    assert await service.check() == len(sent)


async def _there(service: Fleet, topic: str, count: int) -> bool:
    return len(await service.read(topic, 0)) == count


async def _send_bombs(service: Fleet, size: int, count: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=service.settings.bootstrap_servers,
        compression_type="zstd",
        max_request_size=2 * BOMB_BYTES,
        max_batch_size=2 * BOMB_BYTES,
    )
    async with producer:
        for _ in range(count):
            await producer.send_and_wait(service.topics.events, bytes(size), partition=0)


async def _send_header_bombs(service: Fleet) -> None:
    """Many records of one large header, and one of millions of empty ones."""
    producer = AIOKafkaProducer(
        bootstrap_servers=service.settings.bootstrap_servers, compression_type="zstd", max_batch_size=BOMB_BYTES
    )
    async with producer:
        for headers in [*[[("h", bytes(HEADER_BOMB_BYTES))]] * HEADER_BOMBS, [("", b"")] * 16_000_000]:
            batch = producer.create_batch()
            assert batch.append(key=None, value=b"x", timestamp=int(time.time() * 1000), headers=headers) is not None
            await (await producer.send_batch(batch, service.topics.events, partition=0))
