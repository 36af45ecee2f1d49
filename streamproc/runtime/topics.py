"""The topics that streamproc needs: created on request, checked at every start."""

from collections.abc import Mapping
from typing import NamedTuple

from streamproc.errors import ConfigError
from streamproc.runtime.config import BATCH_BYTES, TopicSettings
from streamproc.runtime.ports import Kafka, NewTopic, TopicInfo

DAY_MS = 86_400_000
PARTITIONS = 4
"""Of a new input topic, where nobody says otherwise."""
ENVELOPE_BYTES = 65_536
"""What a state record or a dead letter may hold beside the input record that it carries."""


class Role(NamedTuple):
    """How a topic is set up. `carries_events`: its records hold whole input records.

    `partitions`: how many it is created with, and may have any number; None: as many as the input, always.
    """

    config: Mapping[str, str]
    carries_events: bool = False
    partitions: int | None = None


def _log(days: int) -> dict[str, str]:
    # Append time: an event time far in the past must not make Kafka delete a fresh record, nor one ahead refuse it.
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(days * DAY_MS),
        "message.timestamp.type": "LogAppendTime",
    }


def _table(segment_mib: int) -> dict[str, str]:
    # Kafka never compacts the segment that it writes to, and a restore reads all of it: by default a week, or 1 GB.
    return {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "segment.bytes": str(segment_mib << 20),
        "segment.ms": str(DAY_MS // 24),
    }


ROLES: Mapping[str, Role] = {
    "events": Role({"cleanup.policy": "delete"}),
    "state": Role(_table(256), carries_events=True),
    "transitions": Role(_log(7)),
    "verdicts": Role(_log(7)),
    "dead_letters": Role(_log(30), carries_events=True),
    "measurements": Role(_log(2)),
    "windows": Role(_table(16)),
    "metrics": Role(_log(30)),
    "alerts": Role(_log(30)),
    # Also deleted: who was killed leaves an id behind that nobody has again.
    "instances": Role({**_table(16), "cleanup.policy": "compact,delete", "retention.ms": str(DAY_MS)}, partitions=1),
}

RECEIPTS = Role(_table(16))
"""Which dead letters were replayed. Only `dlq replay` needs it, and creates it: the service does without."""


def receipts_topic(dead_letters: str) -> str:
    """Return the name of the topic of receipts that belongs to a dead-letter topic."""
    return f"{dead_letters}-replays"


async def create_topics(
    kafka: Kafka, topics: TopicSettings, partitions: int, max_record_bytes: int, replication_factor: int | None = None
) -> list[str]:
    """Create what is missing, with the input's partition count where it exists; return the names created.

    `replication_factor` None: the broker's default.
    """
    names = topics.by_role()
    existing = await kafka.topics(list(names.values()))
    if topics.events in existing:
        partitions = existing[topics.events].partitions
    missing = [
        NewTopic(name, ROLES[role].partitions or partitions, _config(role, max_record_bytes), replication_factor or -1)
        for role, name in names.items()
        if name not in existing
    ]
    if missing:
        await kafka.create(missing)
    return [topic.name for topic in missing]


async def refuse_other_counts(kafka: Kafka, topics: TopicSettings, partitions: int) -> None:
    """Raise ConfigError where topics exist with another count than was asked for: it is never changed (rules.md 4)."""
    names = [name for role, name in topics.by_role().items() if ROLES[role].partitions is None]
    existing = await kafka.topics(names)
    counts = {info.partitions for info in existing.values()} - {partitions}
    others = {count: sorted(name for name, info in existing.items() if info.partitions == count) for count in counts}
    if others:
        there = "\n".join(f"  - {count} partitions: {', '.join(names)}" for count, names in sorted(others.items()))
        raise ConfigError(
            f"these topics exist with another count than {partitions} and are left as they are:\n{there}\n"
            "With another count keys would go to other partitions, where their states are not: it needs a new "
            "STREAMPROC_APPLICATION_ID and new topics (STREAMPROC_TOPICS__PREFIX). Without --partitions this command "
            "creates what is missing with the count that the input has"
        )


async def check_topics(kafka: Kafka, topics: TopicSettings, max_record_bytes: int) -> int:
    """Return the input's partition count; raises ConfigError with everything that is wrong and how to put it right."""
    names = topics.by_role()
    existing = await kafka.topics(list(names.values()))
    flaws = [absent(name) for name in names.values() if name not in existing]
    count = existing[topics.events].partitions if topics.events in existing else 0
    for role, name in names.items():
        if name in existing:
            flaws += _flaws(role, name, existing[name], topics.events if count else None, count, max_record_bytes)
    if flaws:
        raise ConfigError("the topics are not as they must be:\n" + "\n".join(f"  - {flaw}" for flaw in flaws))
    return count


async def partitions_of(kafka: Kafka, topic: str) -> int:
    """Return how many partitions a topic has; raises ConfigError where there is no such topic."""
    count = await kafka.partition_count(topic)
    if not count:
        raise ConfigError(absent(topic))
    return count


def absent(topic: str) -> str:
    """Return the message about a topic that is not there."""
    return f"{topic} does not exist: run `streamproc topics create`, or correct STREAMPROC_TOPICS__PREFIX"


async def admitted_bytes(kafka: Kafka, topic: str) -> int:
    """Return how large a batch of records a topic admits, as it was checked to be."""
    return int((await kafka.topics([topic]))[topic].config.get("max.message.bytes", BATCH_BYTES))


def partition_count_changed(topic: str, before: int, now: int) -> str:
    """Return the message for rules.md 4."""
    return (
        f"{topic} had {before} partitions and has {now} now: keys moved to other partitions, so the states no longer "
        "fit. Migrate: set a new STREAMPROC_APPLICATION_ID and a new STREAMPROC_TOPICS__PREFIX, run `streamproc topics "
        "create`, and start: the input is replayed from its beginning"
    )


def _config(role: str, max_record_bytes: int) -> Mapping[str, str]:
    setup = ROLES[role]
    if setup.carries_events:
        return {**setup.config, "max.message.bytes": str(2 * _needed_bytes(role, max_record_bytes))}
    return setup.config


def _needed_bytes(role: str, max_record_bytes: int) -> int:
    """Return what `max.message.bytes` must admit: a whole batch, or one record that carries the largest event."""
    largest = max_record_bytes + ENVELOPE_BYTES if ROLES[role].carries_events else 0
    return max(BATCH_BYTES, largest)


def _flaws(role: str, name: str, info: TopicInfo, events: str | None, count: int, max_record_bytes: int) -> list[str]:
    flaws = []
    if events is not None and ROLES[role].partitions is None and info.partitions != count:
        flaws.append(
            f"{name} has {info.partitions} partitions, {events} has {count}: they must be equal; delete {name} while "
            "it holds nothing you need and run `streamproc topics create`, or set another topic name"
        )
    policy, wanted = info.config.get("cleanup.policy", ""), ROLES[role].config["cleanup.policy"]
    if wanted == "compact" and policy != "compact":
        flaws.append(f"{name} has cleanup.policy={policy}, it must be compact: state would be deleted; alter the topic")
    elif "compact" in wanted and "compact" not in policy:
        flaws.append(f"{name} has cleanup.policy={policy}, it must be {wanted}: else it grows; alter the topic")
    needed = _needed_bytes(role, max_record_bytes)
    if role != "events" and int(info.config.get("max.message.bytes", needed)) < needed:
        flaws.append(
            f"{name} has max.message.bytes={info.config['max.message.bytes']}, it needs {needed}: alter the topic, or "
            "lower STREAMPROC_KAFKA__MAX_RECORD_BYTES where that is what asks for so much"
        )
    return flaws
