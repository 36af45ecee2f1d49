"""The operations that the broker permits the user (KIP-430), asked for without performing them."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import CoordinationType
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TransactionalIdAuthorizationFailed
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import error_of
from streamproc.runtime.aio.denials import OF_TOPIC
from streamproc.runtime.aio.wire import OneVersion
from streamproc.runtime.rights import Operation, Resource, Right

TEXT = String("utf-8")
NOT_TOLD = -(2**31)
"""Sent in place of operations by a broker without an authorizer, or with an older one."""
BITS = {
    Operation.READ: 1 << 3,
    Operation.WRITE: 1 << 4,
    Operation.CREATE: 1 << 5,
    Operation.DESCRIBE: 1 << 8,
    Operation.DESCRIBE_CONFIGS: 1 << 10,
}
EVERYTHING = sum(BITS.values())
NO_TIMEOUT_MS = 0
"""No producer may have this timeout: the broker refuses it to whoever has the right, and names the lacking right to
all others. Nothing is done in either case."""
MOVED_S, TRIES = 0.1, 20
"""A coordinator that is moving, or loading, is asked again."""


class MetadataResponse8(Response):
    """For each topic: whether the user may describe it, and the other operations that are permitted."""

    API_KEY, API_VERSION = 3, 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT))),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class MetadataRequest8(RequestStruct):
    """The topics asked about."""

    API_KEY, API_VERSION = 3, 8
    RESPONSE_TYPE = MetadataResponse8
    SCHEMA = Schema(
        ("topics", Array(TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class MetadataOfRights(OneVersion[MetadataRequest8]):
    """Ask which operations are permitted on topics; create none."""

    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._fields = list(names), False, False, True


class DescribeGroupsResponse3(Response):
    """For each group: whether the user may describe it, and the other operations that are permitted."""

    API_KEY, API_VERSION = 15, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", TEXT),
                ("state", TEXT),
                ("protocol_type", TEXT),
                ("protocol", TEXT),
                (
                    "members",
                    Array(
                        ("member_id", TEXT),
                        ("client_id", TEXT),
                        ("client_host", TEXT),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class DescribeGroupsRequest3(RequestStruct):
    """The groups asked about."""

    API_KEY, API_VERSION = 15, 3
    RESPONSE_TYPE = DescribeGroupsResponse3
    SCHEMA = Schema(("groups", Array(TEXT)), ("include_authorized_operations", Boolean))


class DescribeGroupOfRights(OneVersion[DescribeGroupsRequest3]):
    """Ask which operations are permitted on a group, which need not exist."""

    API_KEY = 15

    def __init__(self, group_id: str) -> None:
        self._fields = [group_id], True


async def lacking(client: Client, rights: Sequence[Right]) -> list[Right]:
    """Return those of the rights that the user does not have, in their order; raises KafkaError without an answer.

    A broker reports nothing about topics that do not exist; so no answer tells whether the user may create a topic.
    """
    by_resource: dict[Resource, dict[str, set[Operation]]] = {kind: {} for kind in Resource}
    for right in rights:
        by_resource[right.resource].setdefault(right.asked or right.name, set()).add(right.operation)
    answers = await asyncio.gather(
        _of_topics(client, by_resource[Resource.TOPIC]),
        *(_of_group(client, name) for name in by_resource[Resource.GROUP]),
        *(_of_id(client, name) for name in by_resource[Resource.TRANSACTIONAL_ID]),
    )
    may = {key: bits | BITS[Operation.CREATE] for part in answers for key, bits in part.items()}
    return [right for right in rights if not BITS[right.operation] & may[right.resource, right.asked or right.name]]


async def _of_topics(client: Client, wanted: dict[str, set[Operation]]) -> dict[tuple[Resource, str], int]:
    if not wanted:
        return {}
    response = await client.send(client.get_random_node(), MetadataOfRights(list(wanted)))
    bits: dict[tuple[Resource, str], int] = {}
    for code, name, *_, operations in response.topics:
        denied = isinstance(error_of(code), OF_TOPIC)
        bits[Resource.TOPIC, name] = 0 if denied else _bits(operations)
    hidden = [name for name, operations in wanted.items() if not bits.get((Resource.TOPIC, name), EVERYTHING)]
    for name in await _configured(client, [name for name in hidden if Operation.DESCRIBE_CONFIGS in wanted[name]]):
        bits[Resource.TOPIC, name] = BITS[Operation.DESCRIBE_CONFIGS]
    return {(Resource.TOPIC, name): bits.get((Resource.TOPIC, name), EVERYTHING) for name in wanted}


async def _configured(client: Client, names: Collection[str]) -> Iterable[str]:
    """Return, of topics that the user may not describe, those whose configuration he may describe."""
    if not names:
        return ()
    request = DescribeConfigsRequest([(ConfigResourceType.TOPIC, name, ["cleanup.policy"]) for name in names])
    response = await client.send(client.get_random_node(), request)
    return [name for code, _, _, name, *_ in response.resources if not isinstance(error_of(code), OF_TOPIC)]


async def _of_group(client: Client, name: str) -> dict[tuple[Resource, str], int]:
    async def ask() -> Any:
        node = await client.coordinator_lookup(CoordinationType.GROUP, name)
        [group] = (await client.send(node, DescribeGroupOfRights(name))).groups
        if error := error_of(group[0]):
            raise error
        return group

    try:
        *_, operations = await _settled(ask)
    except GroupAuthorizationFailedError:
        return {(Resource.GROUP, name): 0}
    return {(Resource.GROUP, name): _bits(operations)}


async def _of_id(client: Client, name: str) -> dict[tuple[Resource, str], int]:
    """Ask for a producer that no client may have: every broker refuses it, and fences no one."""
    response = await client.send(client.get_random_node(), InitProducerIdRequest(name, NO_TIMEOUT_MS))
    is_denied = isinstance(error_of(response.error_code), TransactionalIdAuthorizationFailed)
    return {(Resource.TRANSACTIONAL_ID, name): 0 if is_denied else EVERYTHING}


async def _settled(ask: Any) -> Any:
    """Return an answer; ask again for a while as long as the coordinator is not available."""
    for left in reversed(range(TRIES)):
        try:
            return await ask()
        except KafkaError as error:
            if not left or not error.retriable:
                raise
            await asyncio.sleep(MOVED_S)
    raise AssertionError  # pragma: no cover  the loop returns or raises


def _bits(operations: int) -> int:
    return EVERYTHING if operations == NOT_TOLD else operations
