"""Weighted random draws, and the life cycle of simulated runs as a table of chances.

The table is independent of the core's, so that a mistake there is not repeated here.
"""

import math
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from random import Random
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Lots(Generic[T]):
    """Items to draw by weight: `Random.choices` with precomputed sums, because every event needs a draw."""

    def __init__(self, weights: Mapping[T, float]) -> None:
        self.weights = weights
        self._things = tuple(weights)
        self._sums = tuple(accumulate(weights.values()))

    def draw(self, rng: Random) -> T:
        """One of them."""
        sums = self._sums
        return self._things[bisect(sums, rng.random() * sums[-1], 0, len(sums) - 1)]


INITIAL = "queued"

NEVER_S = math.inf
"""A wait that only the run's expiry ends."""


class Edge(NamedTuple):
    """One possible next step; `to` None: nobody reports the run again."""

    to: str | None
    weight: float
    mean_wait_s: float


Life = Mapping[str, Lots[Edge]]

_LIFE = {
    "queued": (
        Edge("in_progress", 960, 1.5),
        Edge("cancelling", 10, 2),
        Edge("failed", 15, 4),
        Edge("expired", 8, NEVER_S),
        Edge(None, 3, 0),
    ),
    "in_progress": (
        Edge("completed", 570, 9),
        Edge("requires_action", 270, 4),
        Edge("failed", 60, 7),
        Edge("incomplete", 40, 12),
        Edge("cancelling", 30, 8),
        Edge("expired", 10, NEVER_S),
        Edge("cancelled", 5, 6),
        Edge("paused", 5, 5),
        Edge(None, 5, 0),
    ),
    "requires_action": (
        Edge("queued", 880, 3),
        Edge("in_progress", 40, 2),
        Edge("expired", 35, NEVER_S),
        Edge("cancelling", 20, 8),
        Edge("failed", 10, 5),
        Edge("cancelled", 10, 8),
        Edge(None, 5, 0),
    ),
    "paused": (Edge("in_progress", 80, 6), Edge("completed", 20, 6)),
    "cancelling": (
        Edge("cancelled", 920, 2),
        Edge("completed", 40, 2),
        Edge("failed", 15, 3),
        Edge("incomplete", 10, 3),
        Edge("expired", 10, NEVER_S),
        Edge(None, 5, 0),
    ),
}

_ABANDONED = {"requires_action": (Edge("expired", 60, NEVER_S), Edge(None, 40, 0))}
_FORGOTTEN = {"requires_action": (Edge(None, 1, 0),)}

_LATEST = "v2_1"


def life_of(version: str) -> Life:
    """The life cycle in a version of the RunObject: `incomplete` came with v2.1."""
    return _lots(_LIFE, None if version == _LATEST else "incomplete")


def _lots(table: Mapping[str, tuple[Edge, ...]], unknown: str | None = None) -> Life:
    """Make a table of lots, without the unknown status."""
    return {
        start: Lots({edge: edge.weight for edge in edges if unknown is None or edge.to != unknown})
        for start, edges in table.items()
    }


ABANDONED = _lots(_ABANDONED)
"""A run whose client has gone: nobody answers its tool calls."""
FORGOTTEN = _lots(_FORGOTTEN)
"""A run that nobody reports as expired, either."""


def expectation(life: Life) -> tuple[float, float]:
    """Return the mean number of events of a run, and the mean seconds spent in waits that end by themselves."""
    events = seconds = 0.0
    present = {INITIAL: 1.0}
    while (moving := sum(present.values())) > 1e-6:  # noqa: PLR2004 - by then the rest changes nothing
        events += moving
        following: dict[str, float] = {}
        for status, chance in present.items():
            edges = life[status].weights if status in life else {}
            total = sum(edges.values())
            for to, weight, wait_s in edges:
                share = chance * weight / total
                seconds += share * wait_s if wait_s < NEVER_S else 0
                if to is not None:
                    following[to] = following.get(to, 0) + share
        present = following
    return events, seconds
