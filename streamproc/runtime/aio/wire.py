"""Requests that aiokafka does not have: those with the group's generation (KIP-447), and a newer Produce.

A version that a broker does not have is one that Kafka has had since 2.5.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.produce import ProduceRequest_v8
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from streamproc.runtime.ports import Committed, Member, TopicPartition

TEXT = CompactString("utf-8")
END = ("tags", TaggedFields)
NO_TAGS: dict[int, bytes] = {}
NO_LEADER_EPOCH = -1
NOBODY = Member(-1, "")
"""Who commits for a group without being in it."""
ALL_REPLICAS = -1
NONE = -1
"""A key that no request has: aiokafka asks even a base class for one."""
Body = TypeVar("Body", bound=RequestStruct)


class OneVersion(Request[Body]):
    """A request of one version, which is one that each broker has."""

    API_KEY = NONE
    _fields: Sequence[Any]

    def build(self, request_struct_class: type[Body]) -> Body:
        """Return it as it is sent."""
        request: Body = request_struct_class(*self._fields)
        return request


class TxnOffsetCommitResponse3(Response):
    """An error code for each partition."""

    API_KEY, API_VERSION = 28, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "errors",
            CompactArray(
                ("topic", TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), END)),
                END,
            ),
        ),
        END,
    )


class TxnOffsetCommitRequest3(RequestStruct):
    """Offsets of a group in a transaction, with the member on whose behalf."""

    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION = 28, 3
    RESPONSE_TYPE = TxnOffsetCommitResponse3
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("group_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT), END
                    ),
                ),
                END,
            ),
        ),
        END,
    )


class TxnOffsetCommit(OneVersion[TxnOffsetCommitRequest3]):
    """Store offsets once the transaction commits; refused where `member` is no longer one or of an older generation."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        group_id: str,
        producer: tuple[int, int],
        member: Member,
        offsets: Mapping[TopicPartition, Committed],
    ) -> None:
        topics = by_topic(
            (place, (place.partition, offset, NO_LEADER_EPOCH, metadata, NO_TAGS))
            for place, (offset, metadata) in offsets.items()
        )
        tagged = [(topic, partitions, NO_TAGS) for topic, partitions in topics]
        self._fields = transactional_id, group_id, *producer, *member, tagged, NO_TAGS


class OffsetFetchResponse7(Response):
    """Offsets, each with an error code, and one for all of them."""

    API_KEY, API_VERSION = 9, 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", TEXT),
                        ("error_code", Int16),
                        END,
                    ),
                ),
                END,
            ),
        ),
        ("error_code", Int16),
        END,
    )


class OffsetFetchRequest7(RequestStruct):
    """Which offsets, and whether only those that are stable."""

    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION = 9, 7
    RESPONSE_TYPE = OffsetFetchResponse7
    SCHEMA = Schema(
        ("group_id", TEXT),
        ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), END)),
        ("require_stable", Boolean),
        END,
    )


class OffsetFetch(OneVersion[OffsetFetchRequest7]):
    """Ask for a group's committed offsets; `stable`: without those that a transaction under way may still change."""

    API_KEY = 9

    def __init__(self, group_id: str, places: Sequence[TopicPartition], *, stable: bool) -> None:
        topics = by_topic((place, place.partition) for place in places)
        self._fields = group_id, [(topic, partitions, NO_TAGS) for topic, partitions in topics], stable, NO_TAGS


class HeartbeatResponse3(Response):
    """An error code."""

    API_KEY, API_VERSION = 12, 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest3(RequestStruct):
    """Which member says that it is there."""

    API_KEY, API_VERSION = 12, 3
    RESPONSE_TYPE = HeartbeatResponse3
    SCHEMA = Schema(
        ("group_id", String("utf-8")),
        ("generation", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class Heartbeat(OneVersion[HeartbeatRequest3]):
    """Say that a member is there; refused where another one has its group instance id by now."""

    API_KEY = 12

    def __init__(self, group_id: str, member: Member) -> None:
        self._fields = group_id, *member


class Produce(OneVersion[ProduceRequest_v8]):
    """Write one batch into each of some partitions, acknowledged by all in-sync replicas."""

    API_KEY = 0

    def __init__(self, transactional_id: str | None, timeout_ms: int, batches: Mapping[TopicPartition, bytes]) -> None:
        topics = by_topic((place, (place.partition, batch)) for place, batch in batches.items())
        self._fields = transactional_id, ALL_REPLICAS, timeout_ms, topics


def by_topic(items: Any) -> list[tuple[str, list[Any]]]:
    """Return what belongs to partitions, given as pairs, as Kafka's requests have it: a list for each topic."""
    topics: dict[str, list[Any]] = {}
    for place, item in items:
        topics.setdefault(place.topic, []).append(item)
    return list(topics.items())
