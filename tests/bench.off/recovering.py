"""How soon the only worker processes again after SIGKILL."""

import time

from streamproc.local.simulate import simulate
from tests.support.service import Fleet
from tests.support.waiting import eventually

SESSION_MS = 6_000
"""Without static membership the coordinator waits so long for the dead member."""


async def measure(fleet: Fleet, rounds: int, *, static: bool) -> None:
    """Print the seconds from each restart until the next commit."""
    membership = {"KAFKA__GROUP_INSTANCE_ID": "only"} if static else {}
    settings = {"KAFKA__SESSION_TIMEOUT_MS": SESSION_MS, **membership}
    worker, took = fleet.start(**settings), []
    for seed in range(rounds):
        await _send(fleet, 2 * seed)
        await eventually(fleet.is_done)
        worker.kill()
        await _send(fleet, 2 * seed + 1)
        before, began = await fleet.progress(), time.monotonic()
        worker = fleet.start(**settings)
        await eventually(lambda before=before: fleet.moved(before))
        took.append(time.monotonic() - began)
    worker.stop()
    kind = "static" if static else f"dynamic, session of {SESSION_MS / 1000:g} s"
    print(f"processing again after a kill, {kind}: {', '.join(f'{each:.1f}' for each in took)} s")


async def _send(fleet: Fleet, seed: int) -> None:
    await fleet.send(simulate(seed=seed, events=500, start_ms=int(time.time() * 1000)))
