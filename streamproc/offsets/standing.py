"""The committed offsets of the input partitions, and who committed them."""

import asyncio
from contextlib import aclosing
from typing import NamedTuple

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.escaping import escaped
from streamproc.offsets.places import WrongPlace
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Committed, Kafka, TopicPartition, Unreadable
from streamproc.runtime.position import Position, Resetting, read
from streamproc.runtime.reading import read_all, read_span
from streamproc.runtime.restore import WAYS_OUT
from streamproc.runtime.topics import partitions_of

LOOKS, LOOK_S = 200, 0.1
"""How often, and at which interval, the end of a transaction is polled; its time-out ends it before that."""
STREAMPROC, ANOTHER, NOBODY, RESET = "streamproc", "something else", "nobody", "an unfinished reset"
"""Who committed an offset."""


class Desk(NamedTuple):
    """What the commands work with. `topics` with their prefix; `profile`: written into new positions."""

    kafka: Kafka
    topics: TopicSettings
    application_id: str
    profile: str
    max_record_bytes: int

    @property
    def inputs(self) -> tuple[str, str]:
        """The topics whose offsets the service commits."""
        return self.topics.events, self.topics.measurements

    def state_of(self, source: TopicPartition) -> TopicPartition:
        """Return the partition that holds the state of an input partition."""
        topic = self.topics.state if source.topic == self.topics.events else self.topics.windows
        return TopicPartition(topic, source.partition)

    async def known(self, source: TopicPartition) -> TopicPartition:
        """Return an input partition that exists; raises WrongPlace, ConfigError."""
        if source.topic not in self.inputs:
            raise WrongPlace(f"{source.topic} is no input of this service: those are {' and '.join(self.inputs)}")
        if source.partition >= await partitions_of(self.kafka, source.topic):
            raise WrongPlace(f"{source.topic} has no partition {source.partition}")
        return source

    async def sources(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic."""
        return [TopicPartition(topic, number) for number in range(await partitions_of(self.kafka, topic))]

    async def others(self, source: TopicPartition) -> list[TopicPartition]:
        """Return all other partitions of the inputs."""
        return [partition for topic in self.inputs for partition in await self.sources(topic) if partition != source]


class PartitionStanding(NamedTuple):
    """The state of one partition: the committed offset, who committed it, and the existing offsets."""

    source: TopicPartition
    committed: Committed | None
    first: int
    end: int

    @property
    def position(self) -> Position | Resetting | None:
        """The position in the commit's metadata, None where the metadata is not ours."""
        return None if self.committed is None else read(self.committed)

    @property
    def by(self) -> str:
        """Who committed the offset."""
        if self.committed is None:
            return NOBODY
        if isinstance(self.position, Resetting):
            return RESET
        return ANOTHER if self.position is None else STREAMPROC

    @property
    def lag(self) -> int:
        """How many offsets are not committed yet, control markers included."""
        return self.end - (
            self.first if self.committed is None else max(self.first, min(self.committed.offset, self.end))
        )


async def standing(kafka: Kafka, source: TopicPartition) -> PartitionStanding:
    """Look up a partition; raises BrokerUnavailable."""
    committed = await kafka.committed(source)
    return PartitionStanding(source, committed, *await kafka.bounds(*source))


async def settled(kafka: Kafka, source: TopicPartition) -> PartitionStanding:
    """Look up a partition once no pending transaction can still change its offset; raises BrokerUnavailable."""
    for _ in range(LOOKS):
        committed = await kafka.stable([source])
        if source in committed:
            return PartitionStanding(source, committed[source], *await kafka.bounds(*source))
        await asyncio.sleep(LOOK_S)
    raise BrokerUnavailable(f"a transaction that does not end holds back the committed offset of {source}")


async def position_of(desk: Desk, partition: PartitionStanding) -> Position:
    """Return the position from which the service goes on; raises ConfigError where it would refuse to start."""
    if partition.committed is not None:
        return Position.of(partition.committed, partition.source, is_input=partition.source.topic == desk.topics.events)
    state = desk.state_of(partition.source)
    if await has_records(desk.kafka, state):
        raise ConfigError(f"{partition.source} has no committed offset, and {state} holds records. {WAYS_OUT}")
    return Position(partition.first, 0, 0, 0, await partitions_of(desk.kafka, partition.source.topic), desk.profile)


async def refuse_another_profile(desk: Desk) -> None:
    """Raise ConfigError where a position was committed with another profile: the service would refuse a new one."""
    for source in [partition for topic in desk.inputs for partition in await desk.sources(topic)]:
        position = (await standing(desk.kafka, source)).position
        if isinstance(position, Position) and position.profile != desk.profile:
            raise ConfigError(
                f"{source} was processed with profile {escaped(position.profile)}, and these settings say "
                f"{desk.profile}: give this command the settings of the service (--config, STREAMPROC_PROFILE). "
                "Another profile needs a new application_id and new topics"
            )


async def has_records(kafka: Kafka, place: TopicPartition) -> bool:
    """Tell whether a partition holds anything but control markers."""
    async with aclosing(read_all(kafka, place)) as everything:
        async for _ in everything:
            return True
    return False


async def next_unread(kafka: Kafka, source: TopicPartition, start: int, end: int) -> int | None:
    """Return the offset of the first record, readable or not, from `start` to before `end`; None for none."""
    next_ = await next_record(kafka, source, start, end)
    return next_.first if isinstance(next_, Unreadable) else next_


async def next_record(kafka: Kafka, source: TopicPartition, start: int, end: int) -> int | Unreadable | None:
    """Return the offset of the first record from `start` to before `end`, or why it cannot be read; None for none."""
    try:
        async with aclosing(read_span(kafka, source, start, end)) as span:
            async for records in span:
                if records:
                    return records[0].offset
    except Unreadable as error:
        return error if error.first < end else None
    return None
