"""Questions about a group, and about a partition's offsets. Each raises KafkaError where there is no answer."""

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
from streamproc.runtime.aio.codes import UnstableOffsetCommitError, told
from streamproc.runtime.aio.denials import on_group, on_topic, refuse
from streamproc.runtime.aio.wire import OffsetFetch, by_topic
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Committed, Membership, TopicPartition
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

    `stable`: a partition whose offset a transaction under way may still change is missing from the answer.
    Raises Denied.
    """
    node = await _coordinator(client, group_id)
    request = OffsetFetch(group_id, places, stable=stable)
    response = await client.send(node, request)
    # Of a coordinator that is still loading the group: taken for "nothing committed" it would replay the input.
    refuse(told(response.error_code), on_group(Operation.DESCRIBE, group_id))
    _raise(response.error_code)
    found: dict[TopicPartition, Committed | None] = {}
    for topic, partitions, _ in response.topics:
        for partition, offset, _, metadata, code, _ in partitions:
            if isinstance(told(code), UnstableOffsetCommitError):
                continue
            refuse(told(code), on_topic(Operation.DESCRIBE, topic))
            _raise(code)
            found[TopicPartition(topic, partition)] = Committed(offset, metadata or "") if offset >= 0 else None
    if not stable and not found.keys() >= set(places):
        raise CoordinatorNotAvailableError(group_id)
    return found


async def _coordinator(client: Client, group_id: str) -> Any:
    try:
        return await client.coordinator_lookup(CoordinationType.GROUP, group_id)
    except GroupAuthorizationFailedError as error:
        raise Denied(on_group(Operation.DESCRIBE, group_id)) from error


async def membership(client: Client, group_id: str) -> Membership:
    """Return the group's state and members; raises Denied where we may not know."""
    node = await _coordinator(client, group_id)
    response = await client.send(node, DescribeGroupsRequest([group_id]))
    for code, _, state, _, _, members, *_ in response.groups:
        refuse(told(code), on_group(Operation.DESCRIBE, group_id))
        _raise(code)
        return Membership(state, [f"{client_id} at {host.lstrip('/')}" for _, client_id, host, *_ in members])
    raise CoordinatorNotAvailableError(group_id)


async def listed(
    client: Client, places: Sequence[TopicPartition], at: int, isolation: int
) -> dict[TopicPartition, int]:
    """Return the first offset of each partition at a timestamp or later, below 0 where there is none.

    `at`: in milliseconds, or EARLIEST, or LATEST: then it is the end as `isolation` has it. Raises Denied.
    """
    await client.know({place.topic for place in places})
    by_leader: dict[int, list[TopicPartition]] = {}
    for place in places:
        leader = client.cluster.leader_for_partition(AioPartition(*place))
        if leader is None and place.topic in client.hidden:
            raise Denied(on_topic(Operation.DESCRIBE, place.topic))
        if leader is None or leader < 0:
            await client.force_metadata_update()  # For whoever asks next.
            raise LeaderNotAvailableError(str(place))
        by_leader.setdefault(leader, []).append(place)
    found: dict[TopicPartition, int] = {}
    for part in await asyncio.gather(*(_listed(client, *each, at, isolation) for each in by_leader.items())):
        found |= part
    return found


async def _listed(
    client: Client, leader: int, places: Sequence[TopicPartition], at: int, isolation: int
) -> dict[TopicPartition, int]:
    request = OffsetRequest(NO_REPLICA, isolation, by_topic((place, (place.partition, at)) for place in places))
    response = await client.send(leader, request)
    found: dict[TopicPartition, int] = {}
    for topic, partitions in response.topics:
        for partition, code, _, offset in partitions:
            refuse(told(code), on_topic(Operation.DESCRIBE, topic))
            try:
                _raise(code)
            except KafkaError as error:
                if error.invalid_metadata:
                    await client.force_metadata_update()
                raise
            found[TopicPartition(topic, partition)] = offset
    return found


def _raise(code: int) -> Any:
    error = told(code)
    if error is not None:
        raise error
