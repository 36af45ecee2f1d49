"""What is known of topics that the broker no longer tells of, since the user may not describe them any more.

Forgotten, they would count as gone: the group would deal out no partition of them, whoever leads it, and an instance
without partitions is a standby, which is ready.
"""

from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka.cluster import ClusterMetadata

from streamproc.runtime.aio.codes import told
from streamproc.runtime.aio.denials import OF_TOPIC

NOBODY = -1


class HiddenTopics:
    """Takes answers over into a cluster's metadata. `hidden`: topics that the last one told nothing of."""

    def __init__(self) -> None:
        self.hidden: AbstractSet[str] = frozenset()

    def update(self, cluster: ClusterMetadata, answer: Any) -> None:
        """Take an answer over; of hidden topics what is known stays."""
        self.hidden = {topic for code, topic, *_ in answer.topics if isinstance(told(code), OF_TOPIC)}
        known = {topic: found for topic in self.hidden if (found := _known(cluster, topic))}
        answer.topics = [(0, it[1], False, known[it[1]]) if it[1] in known else it for it in answer.topics]
        cluster.update_metadata(answer)


def _known(cluster: ClusterMetadata, topic: str) -> list[tuple[int, int, int, Any, Any]]:
    """Return a topic's partitions as an answer has them."""
    found = cluster._partitions.get(topic, {})  # noqa: SLF001  it has no other way to the replicas
    return [(each.error, each.partition, each.leader, each.replicas, each.isr) for each in found.values()]


def is_led(cluster: ClusterMetadata, topic: str) -> bool:
    """Tell whether a topic is known, and each of its partitions has a leader."""
    found = cluster._partitions.get(topic, {})  # noqa: SLF001
    return bool(found) and all(each.leader != NOBODY for each in found.values())
