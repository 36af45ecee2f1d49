"""How many runs there are, how old, how late: counted in the tasks' states when somebody asks, so nothing drifts."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import add

from msgspec import Struct, field

from streamproc.core.alerts import kind_of
from streamproc.core.model import Run
from streamproc.core.payloads import PayloadUsage
from streamproc.core.state import State

SLICE = 50_000
"""Runs looked at in one go: about 5 ms, in which the event loop does nothing else.

Rendering blocks it for longer, and each turn that others have in between may take 20 ms: 100,000 runs are shown after
30 ms, after 55 ms where the loop is never idle; a million after 170 and 540 ms.
"""


class Census(Struct):
    """What was counted: runs by status, open runs by the kind of deadline that they missed (`late`).

    `oldest`: when the oldest open run of a status was created, in seconds. `usage`: what the runs' payloads take.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    oldest: dict[str, int] = field(default_factory=dict)
    late: Counter[str] = field(default_factory=Counter)
    usage: PayloadUsage = PayloadUsage()

    def look_at(self, runs: Iterable[Run]) -> None:
        """Take in open runs. The hot loop: a million of them are not unusual."""
        oldest, late = self.oldest, self.late
        for run in runs:
            # A producer without a creation time writes null or 0.
            created, status = run.created_at or run.first_seen_at // 1000, run.status
            if status not in oldest or created < oldest[status]:
                oldest[status] = created
            if run.alerts:
                late.update({kind_of(identity) for identity in run.alerts})

    def merge(self, other: "Census") -> None:
        """Add another task's."""
        self.by_status.update(other.by_status)
        self.late.update(other.late)
        self.usage = PayloadUsage(*map(add, self.usage, other.usage))
        for status, created in other.oldest.items():
            self.oldest[status] = min(created, self.oldest.get(status, created))


async def take(states: Sequence[State]) -> list[Census]:
    """Count each state as it is when its turn comes. In between the event loop goes on, and states change."""
    taken, since = [], 0
    for state in states:
        census = Census(Counter(state.by_status), usage=state.payloads.usage())
        runs = list(state.open_runs())
        for start in range(0, len(runs), SLICE):
            piece = runs[start : start + SLICE]
            census.look_at(piece)
            since += len(piece)
            if since >= SLICE:
                since = 0
                await asyncio.sleep(0)
        taken.append(census)
    return taken
