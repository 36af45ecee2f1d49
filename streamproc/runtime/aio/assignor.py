"""Who gets which partitions: sticky over the input topic; of the other topics, each partition goes with its number.

aiokafka's sticky assignor evens out the sum over all topics, so a second worker would get the light stage whole and
none of the heavy one.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


def sticky() -> type[StickyPartitionAssignor]:
    """Return a sticky assignor for one consumer: aiokafka keeps what a consumer had last in the class."""
    return type("Sticky", (StickyPartitionAssignor,), {})


def paired(lead: str) -> type[StickyPartitionAssignor]:
    """Return an assignor for one consumer that hands out the partitions of `lead`, and the others with them."""
    return type("Paired", (_PairedAssignor,), {"lead": lead})


class _PairedAssignor(StickyPartitionAssignor):
    # Another name than the releases had that commit by partition: the broker keeps the two out of one group, in which
    # each would fence the other's transactions.
    name = "streamproc-worker"
    lead = ""

    @classmethod
    def assign(
        cls, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        led = super().assign(cluster, members)
        owners = {number: member for member, given in led.items() for _, number in given.partitions()}
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        first = min(members)
        shares: dict[str, dict[str, list[int]]] = {member: {} for member in members}
        for topic in topics:
            for number in sorted(cluster.partitions_for_topic(topic) or ()):
                shares[owners.get(number, first)].setdefault(topic, []).append(number)
        return {
            member: ConsumerProtocolMemberAssignment(cls.version, sorted(share.items()), b"")
            for member, share in shares.items()
        }

    @classmethod
    def parse_member_metadata(cls, metadata: ConsumerProtocolMemberMetadata) -> Any:
        parsed = super().parse_member_metadata(metadata)
        had = [place for place in parsed.partitions if place.topic == cls.lead]
        return parsed._replace(subscription=[cls.lead], partitions=had)
