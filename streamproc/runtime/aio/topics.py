"""Queries about topics, and their creation. Each raises KafkaError without an answer, Denied without the right."""

from collections.abc import Sequence
from typing import Any

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import (
    InvalidTopicError,
    NoError,
    NotControllerError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from streamproc.errors import ConfigError
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import error_of
from streamproc.runtime.aio.denials import OF_TOPIC, on_topic, refuse
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import NewTopic, TopicInfo
from streamproc.runtime.rights import Operation

EVERY_CONFIG = None


async def partition_counts(client: Client, names: Sequence[str]) -> dict[str, int]:
    """Return the number of partitions of those topics that exist.

    By default a broker creates the topics that are asked for; the request forbids it.
    """
    request = MetadataRequest(list(names), allow_auto_topic_creation=False)
    described = (await client.send(client.get_random_node(), request)).to_object()["topics"]
    counts: dict[str, int] = {}
    for topic in described:
        name, error = topic["topic"], for_code(topic["error_code"])
        if error is NoError:
            counts[name] = len(topic["partitions"])
        elif error not in (UnknownTopicOrPartitionError, InvalidTopicError):
            refuse(error(), on_topic(Operation.DESCRIBE, name))
            raise error(name)
    return counts


async def infos(client: Client, names: Sequence[str]) -> dict[str, TopicInfo]:
    """Return the topics that exist. An answer without their settings is an error: limits must not be guessed."""
    counts = await partition_counts(client, names)
    if not counts:
        return {}
    request = DescribeConfigsRequest([(ConfigResourceType.TOPIC, name, EVERY_CONFIG) for name in counts])
    response = await client.send(client.get_random_node(), request)
    existing: dict[str, TopicInfo] = {}
    for code, _, _, name, entries in response.resources:
        if code:
            refuse(error_of(code), on_topic(Operation.DESCRIBE_CONFIGS, name))
            raise for_code(code)(name)
        existing[name] = TopicInfo(counts[name], {entry[0]: entry[1] for entry in entries})
    return existing


async def create(client: Client, topics: Sequence[NewTopic], timeout_ms: int) -> None:
    """Create topics; an existing one is left as it is. Raises Denied with all topics that may not be created."""
    if client.cluster.controller is None:
        await client.force_metadata_update()
        if client.cluster.controller is None:
            raise NotControllerError
    wanted: Any = [
        (topic.name, topic.partitions, topic.replication_factor, [], [*topic.config.items()]) for topic in topics
    ]
    request = CreateTopicsRequest(wanted, timeout_ms, validate_only=False)
    response = await client.send(client.cluster.controller.nodeId, request)
    denied = [name for name, code, *_ in response.topic_errors if isinstance(error_of(code), OF_TOPIC)]
    if denied:
        raise Denied(*(on_topic(Operation.CREATE, name) for name in denied))
    for name, code, *_ in response.topic_errors:
        error = for_code(code)
        if error is NotControllerError:
            raise error
        if code and error is not TopicAlreadyExistsError:
            message = (
                f"topic {name} could not be created: {error.__name__}. Create it by hand, or check, for a "
                "replication factor, how many brokers there are"
            )
            raise ConfigError(message)
