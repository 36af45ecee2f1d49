"""Faults of brokers and instances: drawn up front by a seed, shown, and then done.

Two lanes side by side: one thing at a time befalls the brokers, and the next only once every copy is in sync again, so
nothing that was acknowledged may be lost; meanwhile instances come and go.
"""

import asyncio
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from streamproc.local.kafka import LocalKafka
from tests.support.cluster import Cluster
from tests.support.metrics_oracle import Limits
from tests.support.second_stage import Setup
from tests.support.service import Fleet, Worker
from tests.support.waiting import DEADLINE_S, eventually

SESSION_MS = 6_000
SUPERVISE_S = 0.5
SETUP = Setup(
    sizes_s=(5, 20),
    grace_s=35,
    limits=Limits(1, stuck_s={"queued": 1, "in_progress": 2, "requires_action": 4, "cancelling": 1}),
    min_ended=5,
)
"""With limits that many runs pass, and windows that close soon."""
QUIET_S = 90
"""Nothing follows the last event for so long: all its deadlines and closings."""

BROKER_FAULTS = {
    "broker killed": (2.0, 15.0),
    "broker frozen": (5.0, 25.0),
    "disk lost": (0.0, 0.0),
    "all away": (20.0, 20.0),
}
INSTANCE_FAULTS = {"instance killed": (0.0, 10.0), "instance frozen": (2.0, 15.0), "instance stopped": (0.0, 5.0)}
"""Each kind with how long it lasts at least and at most, in seconds."""


class Fault(NamedTuple):
    """`who`: the number of a broker or the name of an instance; of no matter where all are away."""

    after_s: float
    kind: str
    who: str
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.after_s:.1f} s later {self.kind}: {self.who}, for {self.lasts_s:.1f} s"


def draw(random: Random, kinds: Iterable[str], who: Sequence[str]) -> list[Fault]:
    """Return faults of these kinds, in their order, on any of these brokers or instances."""
    spans = {**BROKER_FAULTS, **INSTANCE_FAULTS}
    return [Fault(random.uniform(0.5, 4), kind, random.choice(who), random.uniform(*spans[kind])) for kind in kinds]


def shuffled(random: Random, kinds: Iterable[str], rounds: int) -> list[str]:
    """Return all kinds in a random order, so many times."""
    kinds = list(kinds)
    return [kind for _ in range(rounds) for kind in random.sample(kinds, len(kinds))]


class Chaos:
    """Does faults to a cluster and to the instances of a fleet; instances by name, with their settings."""

    def __init__(self, kafka: LocalKafka, fleet: Fleet, instances: Mapping[str, Mapping[str, object]]) -> None:
        self.cluster = Cluster(kafka.bootstrap_servers)
        self._kafka = kafka
        self._fleet = fleet
        self._settings = instances
        self._workers: dict[str, Worker] = {}
        self._befallen: set[str] = set()
        self._supervision: asyncio.Task[None] | None = None
        self.ended: list[str] = []
        """The last words of instances that were up and ended by themselves: no fault of a broker is a reason to."""
        self._began = time.monotonic()

    def start_instances(self) -> None:
        """Start all of them; from now on one that ends by itself is started again, as whatever runs them would."""
        for name in self._settings:
            self._start(name)
        self._supervision = asyncio.create_task(self._supervise())

    async def run(self, brokers: Sequence[Fault], instances: Sequence[Fault]) -> None:
        """Do all of it; shows the schedule before, and what is done as it is done."""
        for lane in (brokers, instances):
            print("schedule:", *lane, sep="\n  ")
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._befall_brokers(brokers))
            lanes.create_task(self._befall_instances(instances))

    async def whole(self) -> None:
        """Wait until every partition has all of its copies."""
        await eventually(self.cluster.is_whole, 2 * DEADLINE_S)

    def stop_instances(self) -> dict[str, int]:
        """Stop all instances in good order; return their exit codes."""
        assert self._supervision is not None
        self._supervision.cancel()
        return {name: worker.stop() for name, worker in self._workers.items()}

    async def nothing_open(self) -> None:
        """Wait until no transaction holds back a reader of any topic; one that nobody ends would for ever."""

        async def ended() -> bool:
            return not await self.cluster.held_back(lambda topic: topic.startswith((self._fleet.name, "__consumer")))

        await eventually(ended)

    async def _befall_brokers(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await self.whole()
            await asyncio.sleep(fault.after_s)
            await self._befall_broker(fault, int(fault.who))
            self._say(f"{fault.kind} is over")
        await self.whole()
        self._say("all copies are in sync")

    async def _befall_broker(self, fault: Fault, broker: int) -> None:
        kafka = self._kafka
        self._say(f"{fault.kind}: {'1, 2, 3' if fault.kind == 'all away' else broker}")
        match fault.kind:
            case "broker killed":
                await kafka.kill(broker)
                await asyncio.sleep(fault.lasts_s)
                await kafka.start_again(broker)
            case "broker frozen":
                await kafka.freeze(broker)
                await asyncio.sleep(fault.lasts_s)
                await kafka.thaw(broker)
            case "disk lost":
                await kafka.lose_disk(broker)
            case "all away":
                await kafka.kill()
                await asyncio.sleep(fault.lasts_s)
                await kafka.start_again()

    async def _befall_instances(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(fault.after_s)
            self._say(f"{fault.kind}: {fault.who}")
            self._befallen.add(fault.who)
            await self._befall_instance(fault, self._workers[fault.who])
            self._befallen.remove(fault.who)

    async def _befall_instance(self, fault: Fault, worker: Worker) -> None:
        if fault.kind == "instance frozen":
            worker.signal(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts_s)
            worker.signal(signal.SIGCONT)
            return
        if fault.kind == "instance killed":
            worker.kill()
        else:
            code = await asyncio.to_thread(worker.stop)
            assert code == 0 or not _was_up(worker), f"instance {fault.who} ended with {code} when it was stopped"
        await asyncio.sleep(fault.lasts_s)
        self._start(fault.who)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(SUPERVISE_S)
            for name, worker in self._workers.items():
                if name not in self._befallen and worker.process.poll() is not None:
                    words = (worker.output().splitlines() or ["nothing"])[-1]
                    self._say(f"instance {name} ended by itself: {words}")
                    if _was_up(worker):  # Else it found no Kafka at its start: that is a reason to end.
                        self.ended.append(words)
                    self._start(name)

    def _start(self, name: str) -> None:
        self._workers[name] = self._fleet.start(**self._settings[name])

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}")


def _was_up(worker: Worker) -> bool:
    """Whether it had joined the group: before that it neither handles SIGTERM at once nor waits for a broker."""
    return bool(worker.events("assigned"))


def memberships(names: Iterable[str], *, static: bool) -> dict[str, dict[str, object]]:
    """Return the settings of instances, by name."""
    common = {"KAFKA__SESSION_TIMEOUT_MS": SESSION_MS, **SETUP.settings}
    return {name: {**common, **({"KAFKA__GROUP_INSTANCE_ID": name} if static else {})} for name in names}
