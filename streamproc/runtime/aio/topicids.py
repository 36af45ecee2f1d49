"""Ids of topics (KIP-516): a topic that is made anew has another one. They are in Metadata 10, which aiokafka lacks."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from io import BytesIO

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import AbstractType, Boolean, CompactArray, Int16, Int32, Schema

from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.wire import END, NO_TAGS, TEXT

ID_BYTES = 16
NO_ID = bytes(ID_BYTES)


class Uuid(AbstractType[bytes]):
    """16 bytes as they are."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Return them."""
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """Read them."""
        return data.read(ID_BYTES)


class MetadataResponse10(Response):
    """Brokers, and of each topic its id and its partitions."""

    API_KEY, API_VERSION = 3, 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT), END)),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", TEXT),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        END,
                    ),
                ),
                ("authorized_operations", Int32),
                END,
            ),
        ),
        ("authorized_operations", Int32),
        END,
    )


class MetadataRequest10(RequestStruct):
    """Of which topics."""

    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION = 3, 10
    RESPONSE_TYPE = MetadataResponse10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("topic", TEXT), END)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        END,
    )


class Metadata(Request[MetadataRequest_v5 | MetadataRequest10]):
    """Ask for topics by their names, and create none; before Kafka 2.8 the answer has no ids."""

    API_KEY = 3

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(
        self, request_struct_class: type[MetadataRequest_v5 | MetadataRequest10]
    ) -> MetadataRequest_v5 | MetadataRequest10:
        """Return the request of the version that the broker has."""
        if request_struct_class.API_VERSION == MetadataRequest10.API_VERSION:
            topics = [(NO_ID, name, NO_TAGS) for name in self._names]
            return request_struct_class(topics, False, False, False, NO_TAGS)  # noqa: FBT003  a struct has no names
        return request_struct_class(list(self._names), False)  # noqa: FBT003


async def topic_ids(client: Client, names: Sequence[str]) -> dict[str, str]:
    """Return the ids of those topics that have one, as Kafka's own tools write them; raises KafkaError."""
    response = await client.send(client.get_random_node(), Metadata(names))
    if not isinstance(response, MetadataResponse10):
        return {}
    return {
        topic: urlsafe_b64encode(topic_id).decode().rstrip("=")
        for code, topic, topic_id, *_ in response.topics
        if not code and topic_id != NO_ID
    }
