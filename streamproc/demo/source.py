"""Sends the simulated events to a real topic, at the requested rate and with the present time."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from secrets import randbelow
from typing import Any, NamedTuple

from msgspec import Struct

from streamproc.app import with_topics
from streamproc.awaiting import set_within
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from streamproc.interrupts import stop_on_signal
from streamproc.local.simulate import MIXED, SimulatedEvent, simulate
from streamproc.printing import counted
from streamproc.runtime.aio.producer import AioProducer
from streamproc.runtime.topics import partitions_of
from streamproc.settings.service import Settings

RATE_PER_S = 200.0
BAD_RATIO = 0.002
MAX_SEED = 1_000_000
BURST = 400
"""Records made and sent at once: about 15 ms of CPU, because the demo's service runs in the same event loop."""
TICK_S = 0.02
HEAD_START_S = 10.0
"""A stream begins with fewer events than its rate, so its own clock runs ahead, by at most this much as measured."""


class Load(Struct, frozen=True):
    """What is sent. `events` None: until stopped; `rate_per_s` 0: as fast as possible; `opening`: see `simulate`."""

    seed: int
    events: int | None = None
    rate_per_s: float = RATE_PER_S
    schema_version: str = MIXED
    bad_ratio: float = BAD_RATIO
    opening: bool = False


def new_load(
    seed: int | None,
    events: int | None,
    rate_per_s: float | None,
    schema_version: str = MIXED,
    bad_ratio: float = BAD_RATIO,
    *,
    opening: bool = False,
) -> Load:
    """Make a load with defaults. The seed is new, because runs of an old one have already ended in the topic."""
    if seed is None:
        seed = randbelow(MAX_SEED)
    if rate_per_s is None:
        rate_per_s = RATE_PER_S if events is None else 0.0
    return Load(seed, events, rate_per_s, schema_version, bad_ratio, opening)


def refuse_other_profiles(settings: Settings) -> None:
    """Raise ConfigError where the present profile cannot read the simulated events."""
    if not set(ASSISTANTS.schemas) <= set(settings.life_cycle.schemas):
        raise ConfigError(
            f"simulated events are of profile {ASSISTANTS.name}, which {settings.profile} does not read: "
            f"set STREAMPROC_PROFILE={ASSISTANTS.name}"
        )


async def feed(settings: Settings, load: Load, stop: asyncio.Event, on_sent: Callable[[str], None]) -> None:
    """Send simulated events until `stop` is set or all are sent; `on_sent` gets the kind of each.

    Raises ConfigError where the topic does not exist, BrokerUnavailable where Kafka accepts no records.
    """
    refuse_other_profiles(settings)
    topic = settings.topic_names.events
    # Checked first: the producer would wait 20 s for a missing topic.
    await with_topics(settings, "simulate", lambda kafka, _: partitions_of(kafka, topic))
    async with AioProducer(settings.kafka, topic) as producer:
        async for batch in _paced(_events(load), load.rate_per_s, stop):
            now_ms = int(time.time() * 1000)
            for event in batch:
                await producer.send(event.key, event.value, now_ms)
                on_sent(event.kind)


class SentEvents(NamedTuple):
    """What was sent, by kind, where to, and how long it took."""

    topic: str
    kinds: Counter[str]
    seed: int
    took_s: float

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        took = f"{self.took_s:.1f} s with --seed {self.seed}"
        yield f"sent {counted(self.kinds.total(), 'record')} to {self.topic} in {took}"
        width = max(map(len, self.kinds), default=0)
        for kind, count in self.kinds.most_common():
            yield f"  {kind:<{width}}  {count:>9,}"

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "topic": self.topic,
            "sent": self.kinds.total(),
            "kinds": dict(self.kinds.most_common()),
            "seed": self.seed,
            "took_ms": round(self.took_s * 1000),
        }


async def send_until_signal(settings: Settings, load: Load, on_start: Callable[[], None]) -> SentEvents:
    """Feed until SIGINT, SIGTERM or the last event; return what was sent. Raises as `feed`.

    `on_start` is called when the first event is sent.
    """
    sent: Counter[str] = Counter()
    began = time.monotonic()

    def on_sent(kind: str) -> None:
        if not sent:
            on_start()
        sent[kind] += 1

    with stop_on_signal() as stop:
        await feed(settings, load, stop, on_sent)
    return SentEvents(settings.topic_names.events, sent, load.seed, time.monotonic() - began)


def _events(load: Load) -> Iterator[SimulatedEvent]:
    """Yield the events. If they are sent as fast as possible, their times end about now, else they start now."""
    rate = load.rate_per_s or RATE_PER_S
    span_s = 0.0 if load.rate_per_s else (load.events or 0) / rate
    return simulate(
        seed=load.seed,
        events=load.events,
        schema_version=load.schema_version,
        rate_per_s=rate,
        start_ms=int((time.time() - span_s - HEAD_START_S) * 1000),
        bad_ratio=load.bad_ratio,
        opening=load.opening,
    )


async def _paced(
    events: Iterator[SimulatedEvent], rate_per_s: float, stop: asyncio.Event
) -> AsyncIterator[Sequence[SimulatedEvent]]:
    """Yield bursts of due events; a delay is made up for as fast as possible."""
    began, sent = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - began) * rate_per_s) + 1 - sent if rate_per_s else BURST
        batch = list(islice(events, min(BURST, due)))
        if due and not batch:
            return
        yield batch
        sent += len(batch)
        next_at = began + sent / rate_per_s if rate_per_s else 0.0
        await _pause(next_at - time.monotonic(), stop)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    await set_within(stop, max(seconds, TICK_S))
