"""What run-metrics and run-alerts of a fleet hold, and what they must hold by one pass over its input."""

import time
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from streamproc.codec.decode import decode
from tests.support.books import bundled_book
from tests.support.metrics_oracle import (
    FailureLimits,
    Limits,
    Revision,
    Said,
    Totals,
    WindowOf,
    alerts,
    failure_alerts,
    latest,
    one_pass,
    revisions,
    windows,
)
from tests.support.runobjects import framed, run_object
from tests.support.service import Fleet
from tests.support.waiting import eventually

LAST = "asst_last"
"""Of the events that `close` sends."""
LIMITS = Limits(1, stuck_s={"queued": 2, "in_progress": 20, "requires_action": 30, "cancelling": 2})


@dataclass(frozen=True)
class Setup:
    """Windows and limits, as a worker's settings and for the oracle. Seconds."""

    sizes_s: tuple[int, ...] = (10, 60)
    grace_s: int = 120
    retention_s: int = 86_400
    limits: Limits = LIMITS
    min_ended: int = 3

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of a worker."""
        limits = self.limits
        stuck = ",".join(f'"{status}":{limit}' for status, limit in limits.stuck_s.items())
        return {
            "WINDOWS__SIZES_S": str(list(self.sizes_s)),
            "WINDOWS__GRACE_S": str(self.grace_s),
            "WINDOWS__RETENTION_S": str(self.retention_s),
            "DEADLINES__ALLOWANCE_S": str(limits.allowance_s),
            "DEADLINES__OVERDUE": str(limits.overdue),
            "DEADLINES__LIMITS_S": f"{{{stuck}}}",
            "ALERTS__FAILURE_RATE_MIN_ENDED": str(self.min_ended),
            "ALERTS__SILENCE_S": "0",
        }

    @property
    def failures(self) -> FailureLimits:
        """Return the limits of failure rates, of the smallest window."""
        return FailureLimits(min(self.sizes_s) * 1000, self.grace_s * 1000, self.min_ended)


@dataclass
class Outputs:
    """Windows by their totals, alerts about runs and about failure rates."""

    windows: dict[WindowOf, Totals]
    runs: list[Said]
    rates: list[Said]

    def __str__(self) -> str:
        kinds = sorted({alert.kind for alert in self.runs})
        counts = ", ".join(f"{kind} {sum(alert.kind == kind for alert in self.runs)}" for kind in kinds)
        return f"{len(self.windows)} windows, {len(self.rates)} failure rates, {counts}"


async def close(fleet: Fleet, at_ms: int) -> None:
    """Send each partition an event that is later than all deadlines and closings of the others."""
    servers = fleet.settings.bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        for number in range(fleet.partitions):
            value = framed("v2_1", run_object(id=f"last_{number}", status="completed", assistant_id=LAST))
            key = f"last_{number}".encode()
            await producer.send_and_wait(fleet.topics.events, value, key, number, timestamp_ms=at_ms)


async def expected(fleet: Fleet, setup: Setup) -> Outputs:
    """Return what one pass over the fleet's input makes of it."""
    wall_ms = int(time.time() * 1000)
    facts, runs = [], []
    for partition in range(fleet.partitions):
        records = await fleet.read(fleet.topics.events, partition)
        found = one_pass(decode(records, bundled_book()).events, wall_ms, setup.limits, partition)
        facts += found.facts
        runs += found.alerts
    summed = windows(facts, [1000 * size for size in setup.sizes_s])
    return Outputs(summed, runs, list(failure_alerts(summed, setup.failures)))


async def found_revisions(fleet: Fleet) -> dict[WindowOf, list[Revision]]:
    """Return what run-metrics holds."""
    topic, partitions = fleet.topics.metrics, range(fleet.partitions)
    return revisions([record for partition in partitions for record in await fleet.read(topic, partition)])


async def found_alerts(fleet: Fleet) -> list[Said]:
    """Return what run-alerts holds."""
    topic, partitions = fleet.topics.alerts, range(fleet.partitions)
    return alerts([record for partition in partitions for record in await fleet.read(topic, partition)])


async def found(fleet: Fleet) -> Outputs:
    """Return what the fleet wrote; each window must have its revisions from 0 on, once and in order."""
    said = await found_alerts(fleet)
    rates = [alert for alert in said if alert.kind == "failure_rate"]
    runs = [alert for alert in said if alert.kind != "failure_rate"]
    return Outputs(latest(await found_revisions(fleet)), runs, rates)


async def settled(fleet: Fleet, wanted: Outputs) -> Outputs:
    """Wait until as much was written as is wanted and the input was read to its end; return what was."""
    await fleet.drained()

    async def all_there() -> bool:
        at = await found(fleet)
        told = len(at.runs) >= len(wanted.runs) and len(at.rates) >= len(wanted.rates)
        return told and at.windows.keys() >= wanted.windows.keys()

    await eventually(all_there)
    return await found(fleet)


def check(at: Outputs, wanted: Outputs) -> None:
    """Hold what was written against what was wanted."""
    assert at.windows == wanted.windows
    assert sorted(at.runs, key=repr) == sorted(wanted.runs, key=repr)
    assert sorted(at.rates, key=repr) == sorted(wanted.rates, key=repr)


async def check_closed(fleet: Fleet, setup: Setup) -> None:
    """After `close`: wait for all that is wanted, and hold it against what was written; prints what was compared."""
    wanted = _without_last(await expected(fleet, setup))
    at = _without_last(await settled(fleet, wanted))
    print(f"compared: {wanted}; {sum(alert.state == 'resolved' for alert in wanted.runs)} resolved")
    check(at, wanted)


def _without_last(found: Outputs) -> Outputs:
    """Leave out the windows of the last events: these close a long time after the test."""
    kept = {window: totals for window, totals in found.windows.items() if window.assistant_id != LAST}
    return Outputs(kept, found.runs, found.rates)
