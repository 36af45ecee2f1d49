"""A topic in memory behind the Feed port, with consumer groups, rebalances and faults on request.

tests/contract/test_feed.py holds it to the real one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamproc.codec.message import Message
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.feed import Assigned, Brought, Start
from streamproc.runtime.ports import Committed

MAX_RECORDS = 200


@dataclass(frozen=True)
class Entry:
    """One record."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]


class FakeTopic:
    """A topic. `down`: no call is answered."""

    def __init__(self, partitions: int = 1) -> None:
        self.logs: list[list[Entry]] = [[] for _ in range(partitions)]
        self.first = [0] * partitions
        self.offsets: dict[str, dict[int, Committed]] = defaultdict(dict)
        self.members: dict[str, list[FakeFeed]] = defaultdict(list)
        self.down = False
        self.commits = 0

    def publish(self, *messages: Message, partition: int = 0) -> int:
        """Append records; return the offset of the last one."""
        log = self.logs[partition]
        for key, value, timestamp, headers in messages:
            log.append(Entry(len(log), key, value, timestamp, tuple(headers)))
        return len(log) - 1

    def feed(self, group: str) -> "FakeFeed":
        """Return a subscription, not yet started."""
        return FakeFeed(self, group)

    def rebalance(self, group: str) -> None:
        """Deal the partitions out anew, in turn."""
        members = self.members[group]
        for member in members:
            member.revoke()
        for number, member in enumerate(members):
            member.assign(frozenset(range(number, len(self.logs), len(members))))

    def committed(self, group: str, partition: int = 0) -> int | None:
        """Return the offset that a group stored."""
        found = self.offsets[group].get(partition)
        return None if found is None else found.offset

    def check(self) -> None:
        """Fail while the broker is away."""
        if self.down:
            message = "the fake broker is down"
            raise BrokerUnavailable(message)


class FakeFeed:
    """A subscription."""

    def __init__(self, topic: FakeTopic, group: str) -> None:
        self._topic = topic
        self._group = group
        self._on_revoked: Callable[[], None] = lambda: None
        self._news: frozenset[int] | None = None
        self._position: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    async def start(self, on_revoked: Callable[[], None]) -> None:
        """Take part."""
        self._topic.check()
        self._on_revoked = on_revoked
        self._topic.members[self._group].append(self)
        self._topic.rebalance(self._group)

    async def fetch(self, timeout_s: float) -> Assigned | Brought:
        """Return the assignment, or what is at hand."""
        self._topic.check()
        if self._news is not None:
            partitions, self._news = self._news, None
            starts = {number: self._start(number) for number in partitions}
            self._position = {number: start.begin for number, start in starts.items()}
            self._ends = {number: start.end for number, start in starts.items()}
            return Assigned(starts)
        found = {}
        for number, position in self._position.items():
            if records := self._topic.logs[number][position : position + MAX_RECORDS]:
                found[number] = records
                self._position[number] = position + len(records)
        await asyncio.sleep(0 if found else min(timeout_s, 0.005))
        caught_up = frozenset(number for number, end in self._ends.items() if self._position[number] >= end)
        return Brought(found, caught_up)

    async def commit(self, offsets: Mapping[int, Committed]) -> bool:
        """Store offsets."""
        self._topic.check()
        await asyncio.sleep(0)
        if not offsets.keys() <= self._position.keys():
            return False
        self._topic.offsets[self._group].update(offsets)
        self._topic.commits += 1
        return True

    async def close(self) -> None:
        """Go; the others get the partitions."""
        await asyncio.sleep(0)
        members = self._topic.members[self._group]
        if self in members:
            members.remove(self)
            self.revoke()
            self._topic.rebalance(self._group)

    def revoke(self) -> None:
        """Take all partitions away."""
        self._news, self._position, self._ends = None, {}, {}
        self._on_revoked()

    def assign(self, partitions: frozenset[int]) -> None:
        """Give partitions."""
        self._news = partitions

    def _start(self, number: int) -> Start:
        committed = self._topic.offsets[self._group].get(number)
        first, end = self._topic.first[number], len(self._topic.logs[number])
        begin = committed.offset if committed is not None and first <= committed.offset <= end else first
        return Start(committed, begin, end)
