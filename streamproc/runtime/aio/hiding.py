"""Keeps the metadata of topics that the broker hides since the user lost the right to describe them.

If it were forgotten, the topics would count as deleted: the group's leader would assign no partition of them, and an
instance without partitions is a standby, which is ready.
"""

from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka.cluster import ClusterMetadata

from streamproc.runtime.aio.codes import error_of
from streamproc.runtime.aio.denials import OF_TOPIC

NOBODY = -1


class HiddenTopics:
    """Updates a cluster's metadata from answers. `hidden`: the topics that the last answer hid."""

    def __init__(self) -> None:
        self.hidden: AbstractSet[str] = frozenset()

    def update(self, cluster: ClusterMetadata, answer: Any) -> None:
        """Update the metadata from an answer; hidden topics keep what is known of them."""
        self.hidden = {topic for code, topic, *_ in answer.topics if isinstance(error_of(code), OF_TOPIC)}
        known = {topic: partitions for topic in self.hidden if (partitions := _known(cluster, topic))}
        answer.topics = [(0, it[1], False, known[it[1]]) if it[1] in known else it for it in answer.topics]
        cluster.update_metadata(answer)


def _known(cluster: ClusterMetadata, topic: str) -> list[tuple[int, int, int, Any, Any]]:
    """Return a topic's partitions in the form of an answer."""
    partitions = cluster._partitions.get(topic, {})  # noqa: SLF001  it has no other way to the replicas
    return [(each.error, each.partition, each.leader, each.replicas, each.isr) for each in partitions.values()]


def is_led(cluster: ClusterMetadata, topic: str) -> bool:
    """Tell whether a topic is known, and each of its partitions has a leader."""
    partitions = cluster._partitions.get(topic, {})  # noqa: SLF001
    return bool(partitions) and all(each.leader != NOBODY for each in partitions.values())
