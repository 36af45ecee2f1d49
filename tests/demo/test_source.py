"""The source's pace, and the two endings of waiting for something."""

import asyncio
import time
from collections import Counter
from typing import get_args

import pytest

from streamproc.cli import local as cli
from streamproc.demo import source
from streamproc.demo.session import Deadline
from streamproc.demo.source import Load, SentEvents
from streamproc.interrupts import Interrupted, unless_stopped
from streamproc.local.simulate import MIXED, VERSIONS


async def sent(load, stop):
    return [event async for batch in source._paced(source._events(load), load.rate_per_s, stop) for event in batch]


async def test_all_events_as_fast_as_possible():
    events = await sent(Load(seed=1, events=1_234, rate_per_s=0), asyncio.Event())
    assert len(events) == 1_234


async def test_keeps_the_rate_on_average():
    stop, began = asyncio.Event(), time.monotonic()
    events = await sent(Load(seed=1, events=100, rate_per_s=200), stop)
    assert len(events) == 100
    assert time.monotonic() - began >= 99 / 200 - source.TICK_S


async def test_a_stop_ends_a_long_wait():
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    async with asyncio.timeout(60):
        assert len(await sent(Load(seed=1, rate_per_s=0.01), stop)) == 1


@pytest.mark.parametrize("load", [Load(seed=1, events=2_000, rate_per_s=0), Load(seed=1, events=500)])
def test_the_events_own_times_lead_up_to_now(load):
    times = [event.timestamp_ms / 1000 for event in source._events(load)]
    assert -60 < times[0] - time.time() < 0
    assert abs(times[-1] - time.time()) < 30


def test_what_is_not_given_is_chosen():
    assert source.new_load(None, None, None).seed != source.new_load(None, None, None).seed
    assert source.new_load(1, None, None) == Load(1, None, source.RATE_PER_S)
    assert source.new_load(1, 50, None) == Load(1, 50, 0)
    assert source.new_load(1, 50, 7.0) == Load(1, 50, 7)


def test_the_same_seed_gives_the_same_runs():
    first, again, other = (next(source._events(Load(seed=seed))).value for seed in (7, 7, 8))
    assert first[:40] == again[:40] != other[:40]


def test_command_line_offers_every_version():
    assert get_args(cli.Version) == (*VERSIONS, MIXED)


def test_what_was_sent_is_told_to_people_and_to_programs():
    sent = SentEvents("run-events", Counter(event=1_998, duplicate=2), seed=7, took_s=1.25)
    assert list(sent.lines())[1:] == ["  event          1,998", "  duplicate          2"]
    assert sent.document() == {
        "topic": "run-events",
        "sent": 2_000,
        "kinds": {"event": 1_998, "duplicate": 2},
        "seed": 7,
        "took_ms": 1_250,
    }


async def test_work_that_ends_before_the_stop_counts():
    async def work():
        return 42

    assert await unless_stopped(asyncio.Event(), work(), "it was done") == 42


async def test_a_stop_cancels_the_work():
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    asyncio.get_running_loop().call_later(0.01, stop.set)
    with pytest.raises(Interrupted, match="stopped before it was done"):
        await unless_stopped(stop, work(), "it was done")
    assert cancelled.is_set()


async def test_deadline_counts_from_the_last_change():
    deadline = Deadline(0.05)
    assert not deadline.is_over(1)
    await asyncio.sleep(0.06)
    assert not deadline.is_over(2)
    await asyncio.sleep(0.06)
    assert deadline.is_over(2)
