"""Resets the offsets of the events: the states are dropped and the offsets moved; the service rebuilds the states.

First every partition of both inputs gets a mark that keeps the service from starting. Then the states are dropped, in
one transaction after another. At last the new positions are committed. The order matters: after an interruption, the
same command goes on, because each step finds what is left to do.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import NamedTuple

from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.message import Message
from streamproc.codec.schemas import load
from streamproc.codec.windows import STATE
from streamproc.errors import ConfigError
from streamproc.offsets.fencing import Commit, fenced
from streamproc.offsets.places import Target
from streamproc.offsets.reach import Reach, reach_of
from streamproc.offsets.standing import (
    ANOTHER,
    NOBODY,
    Desk,
    PartitionStanding,
    refuse_another_profile,
    settled,
    standing,
)
from streamproc.runtime.ports import Committed, TopicPartition, Unreadable
from streamproc.runtime.position import Position, Resetting
from streamproc.runtime.reading import read_all
from streamproc.runtime.restore import state_unreadable
from streamproc.runtime.topics import check_topics

AT_ONCE = 5_000
"""How many tombstones one transaction writes."""
UNFINISHED = (
    "the reset is not finished",
    "Stop every instance of the service, then run the same `streamproc offsets reset` again: it continues from there",
)


class PartitionReset(NamedTuple):
    """What becomes of one events partition. `requested`: the offset that was asked for, if it does not exist."""

    before: PartitionStanding
    to: int
    requested: int | None
    reach: Reach

    @property
    def again(self) -> int | None:
        """How many offsets are read again: from `to` to where the service had come; None: unknown."""
        reached = self.reach.offset
        return None if reached is None else max(0, min(reached, self.before.end) - self.to)

    @property
    def passed(self) -> int | None:
        """How many offsets are skipped that the service had not reached; None: unknown."""
        reached = self.reach.offset
        return None if reached is None else max(0, self.to - max(reached, self.before.first))


async def refuse_running(desk: Desk) -> None:
    """Raise ConfigError where the group has members."""
    group = await desk.kafka.membership()
    if group.members:
        raise ConfigError(
            f"the service runs: group {desk.application_id} is {group.state} with {len(group.members)} members "
            f"({', '.join(group.members[:3])}). Stop every instance first; one that was killed is a member until its "
            "kafka.session_timeout_ms is over"
        )


async def planned(desk: Desk, target: Target) -> list[PartitionReset]:
    """Return what a reset would do, and write nothing; raises ConfigError, BrokerUnavailable."""
    await check_topics(desk.kafka, desk.topics, desk.max_record_bytes)
    await refuse_another_profile(desk)
    for source in await desk.sources(desk.topics.measurements):
        await live_keys(desk, source)  # Fails early: a state that cannot be read could not be dropped later.
    return [await _move(desk, source, target) for source in await desk.sources(desk.topics.events)]


class Reset:
    """One run of the command. `on_step` gets a text before each step."""

    def __init__(
        self, desk: Desk, moves: Iterable[PartitionReset], on_step: Callable[[str], None] = lambda _: None
    ) -> None:
        self._desk = desk
        self._targets = {move.before.source: move.to for move in moves}
        self._on_step = on_step
        self._sequences: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Reset; raises ConfigError where the service or another reset works on the same partitions."""
        desk = self._desk
        measured = await desk.sources(desk.topics.measurements)
        sources = [*self._targets, *measured]
        self._on_step(f"marking {len(sources)} partitions")
        await desk.kafka.fence(sources)
        for source in sources:
            async with self._fenced(source) as commit:
                self._sequences[source] = await self._sequence(source)
                await commit({}, await self._mark(source))
        for source in sources:
            self._on_step(f"dropping {desk.state_of(source)}")
            async with self._fenced(source) as commit:
                await self._drop(commit, source)
        self._on_step("setting the offsets")
        for source in (*measured, *self._targets):
            async with self._fenced(source) as commit:
                await commit({}, await self._position(source, len(measured)))

    def _fenced(self, source: TopicPartition) -> AbstractAsyncContextManager[Commit]:
        return fenced(self._desk.kafka, source, *UNFINISHED)

    async def _sequence(self, source: TopicPartition) -> int:
        """Return the sequence so far. Where it is lost: one never reached, because ids contain it and must be new."""
        position = (await settled(self._desk.kafka, source)).position
        return int(time.time()) if position is None else position.sequence

    async def _drop(self, commit: Commit, source: TopicPartition) -> None:
        place, mark = self._desk.state_of(source), await self._mark(source)
        keys = sorted((await live_keys(self._desk, source)).items(), key=lambda item: item[1])
        for start in range(0, len(keys), AT_ONCE):
            nulls = [self._tombstone(source, key, offset) for key, offset in keys[start : start + AT_ONCE]]
            await commit({place: nulls}, mark)

    def _tombstone(self, source: TopicPartition, key: bytes, offset: int) -> Message:
        """Return the tombstone for a key; its id names the record that it removes, and this reset."""
        is_run, wall_ms = source.topic == self._desk.topics.events, time.time_ns() // 1_000_000
        prefix = f"/streamproc/{self._desk.application_id}"
        if is_run:
            events = CloudEvents("streamproc.run.state", f"{prefix}/state", load("run_state").label)
        else:
            events = STATE.events("streamproc.window.state", f"{prefix}/windows")
        event_id = f"{source.topic}:{source.partition}:{offset}:{self._sequences[source] + 1}:reset"
        return key, None, wall_ms, events.headers(event_id.encode(), wall_ms)

    async def _mark(self, source: TopicPartition) -> Committed:
        return Resetting(await self._offset(source), self._sequences[source]).to_committed()

    async def _position(self, source: TopicPartition, partitions: int) -> Committed:
        sequence = self._sequences[source] + 1
        return Position(await self._offset(source), sequence, 0, 0, partitions, self._desk.profile).to_committed()

    async def _offset(self, source: TopicPartition) -> int:
        """Return the new offset. For measurements it is the end: those before belong to the dropped windows."""
        return self._targets[source] if source in self._targets else (await self._desk.kafka.bounds(*source))[1]


async def live_keys(desk: Desk, source: TopicPartition) -> dict[bytes, int]:
    """Return the live keys in the state of an input partition, each with the offset of its latest record.

    Raises ConfigError where it cannot be read.
    """
    offsets: dict[bytes, int] = {}
    try:
        async with aclosing(read_all(desk.kafka, desk.state_of(source))) as everything:
            async for records in everything:
                for record in records:
                    if record.value:
                        offsets[record.key or b""] = record.offset
                    else:
                        offsets.pop(record.key or b"", None)
    except Unreadable as error:
        raise state_unreadable(error) from error
    return offsets


async def _move(desk: Desk, source: TopicPartition, target: Target) -> PartitionReset:
    partition = await standing(desk.kafka, source)
    reach = await reach_of(desk, partition)
    if target.time_ms is not None:
        at_time = await desk.kafka.offset_at(*source, target.time_ms)
        return PartitionReset(partition, partition.end if at_time is None else at_time, None, reach)
    if target.offset is None:
        return PartitionReset(partition, partition.first, None, reach)
    to = max(partition.first, min(target.offset, partition.end))
    return PartitionReset(partition, to, target.offset if to != target.offset else None, reach)


def stood(partition: PartitionStanding) -> str:
    """Return the committed offset of a partition in words."""
    if partition.committed is None:
        return NOBODY
    by = f" (by {partition.by})" if partition.by == ANOTHER else ""
    return f"{partition.committed.offset}{by}"
