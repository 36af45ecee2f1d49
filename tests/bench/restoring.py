"""A restart with a large state: how long it takes, and what a run costs in memory."""

import time
from collections.abc import Sequence
from itertools import islice

from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.schemas import load
from streamproc.core.model import Run
from streamproc.core.profiles import ASSISTANTS
from streamproc.local.simulate import simulate
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.position import Position
from tests.bench.process import MIB, resident_bytes
from tests.support.service import Fleet
from tests.support.waiting import eventually

BATCH = 5_000
OPEN_SHARE = 10
"""One run in so many is open; the others ended and are kept for the retention time."""
SPREAD_MS, EXPIRES_S = 60_000, 86_400
"""Within how long runs changed; none of them expires while it is looked at."""


async def measure(fleet: Fleet, runs: int) -> None:
    """Print the figures of one worker that restores `runs` runs."""
    idle = fleet.start()
    await eventually(lambda: len(idle.events("task")) >= 3 * fleet.partitions)
    empty = resident_bytes(idle.process.pid)
    idle.stop()
    print(f"writing the state of {runs:,} runs ...", flush=True)
    size = await write_states(fleet, runs)
    began = time.monotonic()
    worker = fleet.start()
    await eventually(lambda: len(worker.events("assigned")) > 0)
    assigned = time.monotonic()
    await eventually(lambda: len(worker.running()) == 2 * fleet.partitions, deadline_s=600)
    ended = time.monotonic()
    resident = resident_bytes(worker.process.pid)
    worker.stop()
    print(f"restore: {runs:,} runs in {fleet.partitions} partitions, events of {size} bytes on average")
    print(f"  {ended - assigned:>10.1f} s from the assignment until every partition runs")
    print(f"  {ended - began:>10.1f} s from the start of the process")
    print(f"  {resident / MIB:>10.0f} MiB resident, {empty / MIB:.0f} MiB with an empty state")
    print(f"  {(resident - empty) / runs:>10.0f} bytes resident per run")


async def write_states(
    fleet: Fleet, runs: int, payloads: Sequence[bytes] = (), first: int = 0, batch: int = BATCH
) -> int:
    """Write states and committed offsets as the service would; return the mean size of the events.

    `payloads`: of events, else simulated ones; `first`: how many runs there are already.
    """
    simulated = (event.value[10:] for event in islice(simulate(seed=3, bad_ratio=0), 2_000) if event.value)
    events = list(payloads or simulated)
    label, now = load("run_object_v2_1").label, int(time.time() * 1000)
    begin, share = first // fleet.partitions, (first + runs) // fleet.partitions
    for partition in range(fleet.partitions):
        encoder = OutputEncoder(OutputSource(fleet.name, fleet.topics.events, partition))
        transactions = fleet.kafka.transactions(fleet.source(partition))
        await transactions.fence()
        for start in range(begin, share, batch):
            states = [
                _run(partition, number, events[number % len(events)], label, now)
                for number in range(start, min(start + batch, share))
            ]
            position = Position(0, start // batch + 1, start + len(states), now, fleet.partitions, ASSISTANTS.name)
            messages = encoder.states(states, now)
            await transactions.commit(
                {TopicPartition(fleet.topics.state, partition): messages},
                {fleet.source(partition): position.to_committed()},
            )
        await transactions.close()
    return sum(map(len, events)) // len(events)


def _run(partition: int, number: int, event: bytes, label: str, now: int) -> Run:
    ended, changed = number % OPEN_SHARE != 0, now - number % SPREAD_MS
    name = f"{partition:04x}{number:020x}"
    return Run(
        run_id=f"run_{name}",
        thread_id=f"thread_{name}",
        assistant_id=f"asst_{number % 20:024x}",
        model="gpt-4o",
        status="completed" if ended else "in_progress",
        status_since=changed,
        status_offset=number,
        first_seen_at=changed - 9_000,
        retained_from=changed + 50,
        created_at=changed // 1000,
        started_at=changed // 1000 + 2,
        expires_at=changed // 1000 + EXPIRES_S,
        ended_at=changed // 1000 + 9 if ended else None,
        transitions=3,
        usage=(number % 5_000, number % 900, number % 5_900) if ended else None,
        error_code=None,
        required_tools=(),
        alerts=(),
        offset=-1,
        event_schema=label,
        event=event,
    )
