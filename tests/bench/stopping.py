"""How soon a worker ends after SIGTERM, at random moments of its life, under load.

It is the first process of a namespace of its own where that is allowed, as it is in a container: such a process dies of
no signal that it has no handler for.
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from streamproc.local.simulate import simulate
from tests.support.live import LiveSource
from tests.support.service import Fleet

PER_SECOND = 1_000
AIM_S = 10.0
LATEST_S = 10.0
"""By then it runs: what comes later differs in nothing."""
PATIENCE_S = 60.0
ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


async def measure(fleet: Fleet, count: int, *, seed: int) -> None:
    """Print how long the ends took, and the exit codes."""
    random, alone = Random(seed), _may_be_alone()
    events = simulate(seed=seed, rate_per_s=PER_SECOND, start_ms=int(time.time() * 1000))
    source = LiveSource(fleet.settings.bootstrap_servers, fleet.topics.events, events, PER_SECOND)
    sending = asyncio.create_task(source.run())
    took: list[float] = []
    codes: Counter[int] = Counter()
    for _ in range(count):
        process = _start(fleet, alone=alone)
        await asyncio.sleep(random.uniform(0.0, LATEST_S))
        began = time.monotonic()
        _terminate(process, alone=alone)
        codes[await asyncio.to_thread(process.wait, PATIENCE_S)] += 1
        took.append(time.monotonic() - began)
    source.end()
    await sending
    late = sum(each > AIM_S for each in took)
    place = "as the first process of a namespace" if alone else "as a plain process: no namespace could be had"
    print(f"{count} ends under {PER_SECOND} events/s after 0 to {LATEST_S:g} s (seed {seed}), {place}:")
    print(f"median {statistics.median(took):.2f} s, longest {max(took):.2f} s, over {AIM_S:g} s: {late}")
    print(f"exit codes: {', '.join(f'{code} {times} times' for code, times in sorted(codes.items()))}")


def _may_be_alone() -> bool:
    try:
        return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _start(fleet: Fleet, *, alone: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "streamproc", "run"]
    with (fleet.logs / "stopped.log").open("ab") as log:
        settings = fleet.environment(KAFKA__SESSION_TIMEOUT_MS=6_000)
        return subprocess.Popen([*ALONE, *command] if alone else command, env=settings, stdout=log, stderr=log)


def _terminate(process: subprocess.Popen[bytes], *, alone: bool) -> None:
    """Send SIGTERM to the worker; from outside of its namespace, as a container's runtime does."""
    if not alone:
        process.terminate()
        return
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()) and process.poll() is None:
        time.sleep(0.001)
    for child in found:
        os.kill(int(child), signal.SIGTERM)
