"""A subscription to one topic in a consumer group of its own, for what reads it beside the pipeline, at least once.

`aio.feed` does it with aiokafka, the tests with a fake; tests/contract/test_feed.py holds both to the same behaviour.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamproc.codec.arrival import Arrival
from streamproc.runtime.ports import Committed


class Start(NamedTuple):
    """Where the reading of a partition starts.

    `committed` is what the group stored, None where nothing; `begin` the offset that is read first, beyond what was
    committed where the topic holds less; `end` the last stable offset that was there at the assignment.
    """

    committed: Committed | None
    begin: int
    end: int


class Assigned(NamedTuple):
    """These partitions are ours, in a new generation of the group: what was read before is void, it comes again."""

    starts: Mapping[int, Start]


class Brought(NamedTuple):
    """Records by partition, in order. `caught_up`: the partitions that were read to the `end` of their start."""

    records: Mapping[int, Sequence[Arrival]]
    caught_up: frozenset[int]


class Feed(Protocol):
    """Reads with isolation read_committed. After a BrokerUnavailable only `close` is left."""

    async def start(self, on_revoked: Callable[[], None]) -> None:
        """Take part in the group; raises BrokerUnavailable.

        `on_revoked` is called in a rebalance, as soon as no partition is ours any more: it must return at once.
        """

    async def fetch(self, timeout_s: float) -> Assigned | Brought:
        """Return the next assignment, or what is at hand; waits about `timeout_s`, and as long as a rebalance lasts.

        Raises BrokerUnavailable.
        """

    async def commit(self, offsets: Mapping[int, Committed]) -> bool:
        """Store where to start next time; false where the partitions are no longer ours. Raises BrokerUnavailable."""

    async def close(self) -> None:
        """Leave the group; takes a bounded time."""
