"""Queries about a group, and about the offsets of partitions. Each raises KafkaError if there is no answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition as AioPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    LeaderNotAvailableError,
)
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.offset import OffsetRequest

from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import UnstableOffsetCommitError, error_of
from streamproc.runtime.aio.denials import on_group, on_topic, refuse
from streamproc.runtime.aio.wire import OffsetFetch, by_topic
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Committed, GroupDescription, TopicPartition
from streamproc.runtime.rights import Operation

EARLIEST, LATEST = -2, -1
"""In place of a timestamp."""
COMMITTED, ALL = 1, 0
"""Isolation levels: up to the last stable offset, up to the high watermark."""
NO_REPLICA = -1


async def group_offsets(
    client: Client, group_id: str, places: Sequence[TopicPartition], *, stable: bool
) -> dict[TopicPartition, Committed | None]:
    """Return the group's committed offsets, None for a partition that has none.

    `stable`: leave out partitions whose offset an open transaction may still change.
    Raises Denied.
    """
    node = await _coordinator(client, group_id)
    request = OffsetFetch(group_id, places, stable=stable)
    response = await client.send(node, request)
    # A coordinator that is still loading the group sends an error: taken for "nothing committed" it would replay the
    # input.
    refuse(error_of(response.error_code), on_group(Operation.DESCRIBE, group_id))
    _raise(response.error_code)
    committed: dict[TopicPartition, Committed | None] = {}
    for topic, partitions, _ in response.topics:
        for partition, offset, _, metadata, code, _ in partitions:
            if isinstance(error_of(code), UnstableOffsetCommitError):
                continue
            refuse(error_of(code), on_topic(Operation.DESCRIBE, topic))
            _raise(code)
            committed[TopicPartition(topic, partition)] = Committed(offset, metadata or "") if offset >= 0 else None
    if not stable and not committed.keys() >= set(places):
        raise CoordinatorNotAvailableError(group_id)
    return committed


async def _coordinator(client: Client, group_id: str) -> Any:
    try:
        return await client.coordinator_lookup(CoordinationType.GROUP, group_id)
    except GroupAuthorizationFailedError as error:
        raise Denied(on_group(Operation.DESCRIBE, group_id)) from error


async def membership(client: Client, group_id: str) -> GroupDescription:
    """Return the group's state and members; raises Denied without the right to describe it."""
    node = await _coordinator(client, group_id)
    response = await client.send(node, DescribeGroupsRequest([group_id]))
    for code, _, state, _, _, members, *_ in response.groups:
        refuse(error_of(code), on_group(Operation.DESCRIBE, group_id))
        _raise(code)
        return GroupDescription(state, [f"{client_id} at {host.lstrip('/')}" for _, client_id, host, *_ in members])
    raise CoordinatorNotAvailableError(group_id)


async def listed(
    client: Client, places: Sequence[TopicPartition], at: int, isolation: int
) -> dict[TopicPartition, int]:
    """Return the first offset of each partition at a timestamp or later, below 0 where there is none.

    `at`: milliseconds, EARLIEST, or LATEST: the end of the partition by `isolation`. Raises Denied.
    """
    await client.know({place.topic for place in places})
    by_leader: dict[int, list[TopicPartition]] = {}
    for place in places:
        leader = client.cluster.leader_for_partition(AioPartition(*place))
        if leader is None and place.topic in client.hidden:
            raise Denied(on_topic(Operation.DESCRIBE, place.topic))
        if leader is None or leader < 0:
            await client.force_metadata_update()  # For the next query.
            raise LeaderNotAvailableError(str(place))
        by_leader.setdefault(leader, []).append(place)
    offsets: dict[TopicPartition, int] = {}
    for part in await asyncio.gather(*(_listed(client, *each, at, isolation) for each in by_leader.items())):
        offsets |= part
    return offsets


async def _listed(
    client: Client, leader: int, places: Sequence[TopicPartition], at: int, isolation: int
) -> dict[TopicPartition, int]:
    request = OffsetRequest(NO_REPLICA, isolation, by_topic((place, (place.partition, at)) for place in places))
    response = await client.send(leader, request)
    offsets: dict[TopicPartition, int] = {}
    for topic, partitions in response.topics:
        for partition, code, _, offset in partitions:
            refuse(error_of(code), on_topic(Operation.DESCRIBE, topic))
            try:
                _raise(code)
            except KafkaError as error:
                if error.invalid_metadata:
                    await client.force_metadata_update()
                raise
            offsets[TopicPartition(topic, partition)] = offset
    return offsets


def _raise(code: int) -> Any:
    error = error_of(code)
    if error is not None:
        raise error
