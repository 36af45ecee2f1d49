"""The whole service as a process on a real Kafka: what goes in, what comes out."""

import asyncio
import json
import re
import signal
import time
from datetime import UTC, datetime
from typing import Any

from streamproc.codec.schemas import load
from streamproc.local.simulate import SimulatedEvent, simulate
from streamproc.native import CODEC
from streamproc.observe.journal import ODD_EVENTS
from tests.support.runobjects import framed, run_object
from tests.support.service import MAX_RECORD_BYTES, Fleet, Worker
from tests.support.waiting import eventually


def _fresh(seed: int, events: int, **options: Any) -> list[SimulatedEvent]:
    """Events of now: a worker that has caught up forgets open runs of long ago (rules.md 17)."""
    return list(simulate(seed=seed, events=events, start_ms=_now_ms(), **options))


def _now_ms() -> int:
    return int(time.time() * 1000)


def _sum(metrics: str, name: str) -> float:
    return sum(float(number) for number in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE))


async def test_events_in_states_transitions_and_dead_letters_out(service: Fleet) -> None:
    """All versions, 5 % bad records; counters agree with what was sent; probes pass; a restart repeats nothing."""
    worker = service.start()
    await service.send(_fresh(1, 3_000, schema_version="mixed", bad_ratio=0.05))
    await eventually(service.is_done)
    await eventually(worker.is_ready)
    metrics = (await worker.get("/metrics"))[1]
    letters = sum([len(await service.read(service.topics.dead_letters, number)) for number in range(4)])
    moves = sum([len(await service.read(service.topics.transitions, number)) for number in range(4)])
    assert _sum(metrics, "streamproc_events_consumed_total") == 3_000
    assert _sum(metrics, "streamproc_events_rejected_total") == letters > 100
    assert _sum(metrics, "streamproc_event_verdicts_total") == 3_000 - letters
    assert _sum(metrics, "streamproc_run_transitions_total") == moves
    assert _sum(metrics, "streamproc_transactions_failed_total") == 0
    assert [(await worker.get(path))[0] for path in ("/livez", "/readyz", "/startupz", "/no")] == [200, 200, 200, 404]
    assert worker.stop() == 0
    again = service.start()
    await service.send(_fresh(2, 500))
    await eventually(service.is_done)
    assert again.stop() == 0
    assert await service.check() == 3_500


async def test_a_worker_says_which_codec_works(service: Fleet) -> None:
    """Once in the log, and in /metrics."""
    worker = service.start()
    await eventually(worker.is_ready)
    (started,) = worker.events("started")
    assert (started["codec"], started["codec_reason"]) == CODEC
    assert re.search(
        rf'^streamproc_build_info{{.*codec="{CODEC.name}".*}} 1', (await worker.get("/metrics"))[1], re.MULTILINE
    )
    assert worker.stop() == 0


async def test_a_second_worker_takes_its_share(service: Fleet) -> None:
    """The group does the rest; outputs stay right while partitions move."""
    one = service.start()
    source = asyncio.create_task(service.send(_fresh(3, 6_000), per_second=1_500))
    await eventually(lambda: len(one.events("assigned")) == 1)
    two = service.start()
    await eventually(lambda: bool(two.events("assigned")))
    await eventually(lambda: _shares(one) == [2, 2])
    assert _shares(two) == [2, 2]
    await source
    await eventually(service.is_done)
    assert (one.stop(), two.stop()) == (0, 0)
    assert await service.check() == 6_000


async def test_one_event_is_readable_though_no_other_follows(service: Fleet) -> None:
    """Low traffic waits for no batch. Prints how long it took: 2 s are promised on a machine that has the time."""
    worker = service.start()
    await eventually(worker.is_ready)
    value = framed("v2_1", run_object(id="run_1", status="queued"))
    began = time.monotonic()
    await service.send_records((b"run_1", value, _now_ms(), []))
    await eventually(lambda: _some(service, service.topics.transitions))
    print(f"readable {time.monotonic() - began:.3f} s after it was handed to a new producer")


async def _some(service: Fleet, topic: str) -> bool:
    return bool(await service.read(topic, 0))


async def test_outputs_carry_cloudevents_headers(service: Fleet) -> None:
    """rules.md 22: binary mode on every output, the ids made of the event's place; the key is the run."""
    at_ms = _now_ms()
    events = [framed("v2_1", run_object(id="run_1", status=status)) for status in ("queued", "in_progress")]
    service.start()
    await service.send_records(*[(b"run_1", value, at_ms + number, []) for number, value in enumerate(events)])
    await eventually(service.is_done)
    for topic, kind, path, schema in (
        (service.topics.transitions, "streamproc.run.transition", "transitions", "run_transition"),
        (service.topics.state, "streamproc.run.state", "state", "run_state"),
    ):
        record = (await service.read(topic, 0))[-1]
        assert record.key == b"run_1"
        assert dict(record.headers) == {
            "ce_specversion": b"1.0",
            "ce_type": kind.encode(),
            "ce_source": f"/streamproc/{service.name}/{path}".encode(),
            "ce_id": f"{service.topics.events}:0:1".encode(),
            "ce_time": _rfc3339(at_ms + 1),
            "content-type": b"application/avro",
            "streamproc.schema": load(schema).label.encode(),
        }


def _rfc3339(time_ms: int) -> bytes:
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").encode()


async def test_dead_letters_are_what_came_and_why(service: Fleet) -> None:
    """The public contract: value, key and headers exactly, plus where from and the reason; large ones too."""
    at_ms = _now_ms()
    sent = [
        (b"\xff\x00", b"\x07garbage", at_ms, [("trace", b"\x00\xff"), ("trace", b""), ("none", b"x")]),
        (b"run_1", None, at_ms + 1, []),
        (b"k", b"\x01" * (MAX_RECORD_BYTES - 2_000), at_ms + 2, [("pad", b"p" * 990)]),
    ]
    service.start()
    await service.send_records(*sent)
    await eventually(service.is_done)
    letters = await service.read(service.topics.dead_letters, 0)
    assert len(letters) == len(sent)
    for offset, (letter, (key, value, timestamp, headers)) in enumerate(zip(letters, sent, strict=True)):
        assert (letter.key, letter.value) == (key, value)
        assert list(letter.headers[: len(headers)]) == headers
        why = dict(letter.headers[len(headers) :])
        assert why.pop("streamproc.error.reason") == (b"empty_value" if value is None else b"bad_framing")
        assert why.pop("streamproc.error.message")
        assert why == {
            "streamproc.source.topic": service.topics.events.encode(),
            "streamproc.source.partition": b"0",
            "streamproc.source.offset": str(offset).encode(),
            "streamproc.source.timestamp": str(timestamp).encode(),
        }


async def test_the_largest_event_passes_and_is_restored(service: Fleet) -> None:
    """rules.md 10: its state, which holds its bytes and more, fits into the topic and comes back at a restart."""
    framing = len(framed("v2_1", run_object(instructions="")))
    large = framed("v2_1", run_object(instructions="i" * (MAX_RECORD_BYTES - framing - 100)))
    worker = service.start()
    await service.send_records((b"run_1", large, _now_ms(), []))
    await eventually(service.is_done)
    assert worker.stop() == 0
    again = service.start()
    await service.send_records((b"run_1", large, _now_ms(), []))
    await eventually(service.is_done)
    assert again.stop() == 0
    (state,) = await service.read(service.topics.state, 0)
    assert large[10:] in (state.value or b"")
    assert len(await service.read(service.topics.transitions, 0)) == 1


async def test_an_ended_run_leaves_a_tombstone_and_may_come_again(service: Fleet) -> None:
    """rules.md 17, with a retention of two seconds, on a partition without traffic."""
    completed = framed("v2_1", run_object(id="run_1", status="completed"))
    service.start(RETENTION__TERMINAL_S=2)
    await service.send_records((b"run_1", completed, _now_ms(), []))
    sequences = [-1]
    await eventually(lambda: _has_forgotten(service, sequences))
    await eventually(lambda: _has(service, 2))
    state, tombstone = await service.read(service.topics.state, 0)
    assert (tombstone.key, tombstone.value) == (state.key, None)
    place, _, sequence = dict(tombstone.headers)["ce_id"].decode().rpartition(":")
    assert place == f"{service.topics.events}:0:0"
    # Marks are committed, too: what is seen next need not be the next commit.
    assert sequences[-2] < int(sequence) <= sequences[-1]
    await service.send_records((b"run_1", completed, _now_ms(), []))
    await eventually(lambda: _has(service, 3))
    assert len(await service.read(service.topics.transitions, 0)) == 2


async def _has_forgotten(service: Fleet, sequences: list[int]) -> bool:
    """Whether no run is left of the one event; until then the commits that were seen are taken down."""
    committed = await service.kafka.committed(service.source(0))
    if committed is None:
        return False
    metadata = json.loads(committed.metadata)
    if metadata["sequence"] != sequences[-1]:
        sequences.append(metadata["sequence"])
    return committed.offset == 1 and metadata["live_keys"] == 0


async def _has(service: Fleet, records: int) -> bool:
    return len(await service.read(service.topics.state, 0)) >= records


async def test_a_stop_under_load_is_quick_and_clean(service: Fleet) -> None:
    """SIGTERM: exit code 0, the commit in hand given up, the rest is the next one's; no failure is reported."""
    worker = service.start(COMMIT__MAX_RECORDS=100)
    await service.send(_fresh(8, 20_000))
    await eventually(service.moved)
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0
    print(f"stopped in {time.monotonic() - began:.2f} s under load")
    assert not await service.is_done()
    failures = [line for line in worker.lines() if line.get("level") in ("warning", "error")]
    assert [line for line in failures if line["logger"] != ODD_EVENTS] == [], "some of the simulated ones are odd"
    again = service.start()
    await eventually(service.is_done)
    assert again.stop() == 0
    assert await service.check() == 20_000


def _shares(worker: Worker) -> list[int]:
    """Return how many partitions of each topic the worker was given last."""
    return [len(numbers) for numbers in worker.events("assigned")[-1]["partitions"].values()]
