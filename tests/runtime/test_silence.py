"""A broker that does not answer is away; a task that does not ask is not its fault."""

from types import SimpleNamespace

import pytest

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio import reader as module
from streamproc.runtime.aio.reader import SILENCE_S, AioReader
from streamproc.runtime.config import KafkaSettings


class Consumer:
    """Stands for aiokafka's: answers nothing, each fetch takes half a second."""

    def __init__(self, clock):
        self.clock = clock
        self.answers = 0

    def last_poll_timestamp(self, _):
        return self.answers

    async def getmany(self, *_, **__):
        self.clock.now += 0.5
        return {}

    def last_stable_offset(self, _):
        return None

    @property
    def _subscription(self):
        state = SimpleNamespace(has_valid_position=False)
        assignment = SimpleNamespace(state_value=lambda _: state)
        return SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))


class Clock:
    now = 1_000.0

    def monotonic(self):
        return self.now


@pytest.fixture
async def reading(monkeypatch):
    """Return a reader that was answered once, its consumer and its clock."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    reader = AioReader(KafkaSettings(), "run-events", 0)
    consumer = reader._consumer = Consumer(clock)
    consumer.answers = 1
    await reader.fetch(100, 0.5)
    return reader, consumer, clock


async def test_a_broker_that_answers_no_fetch_for_long_is_away(reading):
    reader, *_ = reading
    for _ in range(int(2 * SILENCE_S)):
        await reader.fetch(100, 0.5)
    with pytest.raises(BrokerUnavailable, match="no answer for 10 s"):
        await reader.fetch(100, 0.5)


async def test_an_answer_now_and_then_is_enough(reading):
    reader, consumer, _ = reading
    for number in range(100):
        consumer.answers += number % 10 == 0
        await reader.fetch(100, 0.5)


async def test_the_time_in_which_nobody_asks_is_no_silence(reading):
    """A partition that waits for a registry fetches again after a while."""
    reader, _, clock = reading
    for _ in range(10):
        clock.now += 60
        await reader.fetch(100, 0.5)
