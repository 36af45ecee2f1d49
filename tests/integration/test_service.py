"""The whole service as a process on a real Kafka."""

import asyncio
import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from streamproc.local.kafka import local_kafka
from streamproc.local.simulate import SimulatedEvent, simulate
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually


def _fresh(seed: int, events: int, **options: Any) -> list[SimulatedEvent]:
    return list(simulate(seed=seed, events=events, start_ms=int(time.time() * 1000), **options))


def _get(worker: Worker, path: str) -> tuple[int, str]:
    (started,) = worker.events("started")
    try:
        with urllib.request.urlopen(f"{started['http']}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


async def _http(worker: Worker, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(_get, worker, path)


async def _ready(worker: Worker) -> bool:
    return bool(worker.events("started")) and (await _http(worker, "/readyz"))[0] == 200


async def test_events_in_states_transitions_and_dead_letters_out(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """All shapes, 5 % bad records; the metrics agree with what was sent; a restart repeats nothing."""
    async with fleet(kafka_bootstrap, unique("service"), tmp_path) as it:
        worker = it.start()
        await it.send(_fresh(1, 3_000, schema_version="mixed", bad_ratio=0.05))
        await eventually(it.is_done, deadline_s=30)
        await eventually(lambda: _ready(worker), deadline_s=30)
        metrics = (await _http(worker, "/metrics"))[1]
        verdicts = sum(float(n) for n in re.findall(r"streamproc_event_verdicts_total\{[^}]*\} (\S+)", metrics))
        rejected = sum(float(n) for n in re.findall(r"streamproc_events_rejected_total\{[^}]*\} (\S+)", metrics))
        assert verdicts + rejected == 3_000
        assert "streamproc_events_consumed_total 3000.0" in metrics
        assert [(await _http(worker, path))[0] for path in ("/livez", "/readyz", "/startupz", "/nothing")] == [
            200,
            200,
            200,
            404,
        ]
        assert worker.stop() == 0
        again = it.start()
        await it.send(_fresh(2, 500))
        await eventually(it.is_done, deadline_s=30)
        assert again.stop() == 0
        assert await it.check() == 3_500


async def test_a_second_worker_takes_its_share(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """The group does the rest; outputs stay right while partitions move."""
    async with fleet(kafka_bootstrap, unique("share"), tmp_path) as it:
        one = it.start()
        source = asyncio.create_task(it.send(_fresh(3, 6_000), per_second=1_500))
        await eventually(lambda: len(one.events("assigned")) == 1, deadline_s=30)
        two = it.start()
        await eventually(lambda: bool(two.events("assigned")), deadline_s=30)
        await eventually(lambda: len(one.events("assigned")[-1]["partitions"]) == 2, deadline_s=30)
        assert len(two.events("assigned")[-1]["partitions"]) == 2
        await source
        await eventually(it.is_done, deadline_s=30)
        assert (one.stop(), two.stop()) == (0, 0)
        assert await it.check() == 6_000


async def test_one_event_is_out_within_two_seconds(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """Low traffic waits for no batch."""
    async with fleet(kafka_bootstrap, unique("latency"), tmp_path) as it:
        worker = it.start()
        await eventually(lambda: _ready(worker), deadline_s=30)
        began = time.monotonic()
        await it.send(_fresh(4, 1, bad_ratio=0))
        await eventually(it.is_done, deadline_s=10)
        took = time.monotonic() - began
        print(f"committed {took:.3f} s after it was handed to a new producer")
        assert took < 2


async def test_an_ended_run_leaves_a_tombstone_and_may_come_again(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """Rule 17, with a retention of two seconds."""
    async with fleet(kafka_bootstrap, unique("forget"), tmp_path, partitions=1) as it:
        it.start(RETENTION__TERMINAL_S=2, RETENTION__OPEN_S=2)
        events = _fresh(5, 40, bad_ratio=0)
        await it.send(events)
        await eventually(lambda: _nothing_lives(it), deadline_s=30)
        before = len(await it.read(it.topics.transitions, 0))
        again = SimulatedEvent(events[0].key, events[0].value, int(time.time() * 1000), "event")
        await it.send([again])
        await eventually(lambda: _more_transitions(it, before), deadline_s=10)


async def _nothing_lives(it: Fleet) -> bool:
    committed = await it.kafka.committed(0)
    return committed is not None and committed.offset == 40 and json.loads(committed.metadata)["live_keys"] == 0


async def _more_transitions(it: Fleet, before: int) -> bool:
    return len(await it.read(it.topics.transitions, 0)) == before + 1


@pytest.mark.timeout(180)
async def test_a_broker_that_goes_away_pauses_the_service(unique: Callable[[str], str], tmp_path: Path) -> None:
    """It stays alive, goes on by itself when the broker is back, and stops within 10 s while it is away."""
    async with local_kafka() as kafka, fleet(kafka.bootstrap_servers, unique("outage"), tmp_path) as it:
        worker = it.start(KAFKA__SESSION_TIMEOUT_MS=6_000)
        await it.send(_fresh(6, 2_000))
        await eventually(it.is_done, deadline_s=30)
        await kafka.kill()
        # Long enough for every time-out on the way but the session's own; the clock is what is tested here.
        await asyncio.sleep(15)
        assert worker.process.poll() is None
        assert (await _http(worker, "/livez"))[0] == 200
        await kafka.start_again()
        await it.send(_fresh(7, 2_000))
        await eventually(it.is_done, deadline_s=60)
        assert await it.check() == 4_000
        await kafka.kill()
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.process.wait, 12)
        print(f"stopped in {time.monotonic() - began:.1f} s without a broker")
        assert time.monotonic() - began < 10
