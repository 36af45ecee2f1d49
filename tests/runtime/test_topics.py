"""The topics: created as they must be, and every flaw named with its fix."""

from typing import Any

import pytest

from streamproc.errors import ConfigError
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import NewTopic
from streamproc.runtime.topics import ENVELOPE_BYTES, ROLES, absent, check_topics, create_topics, refuse_other_counts
from tests.support.fake_kafka import FakeKafka, Log

LIMIT = 1_048_576
TOPICS = TopicSettings()


def _counts(kafka: FakeKafka) -> set[int]:
    """Return the partition counts of the topics that must have the input's."""
    return {len(log) for name, log in kafka.logs.items() if name != TOPICS.instances}


async def _created(**changed: Any) -> FakeKafka:
    """Return a cluster as `topics create` leaves it, with `changed` settings of run-state."""
    kafka = FakeKafka()
    await create_topics(kafka, TOPICS, 4, LIMIT)
    kafka.configs[TOPICS.state] = {**kafka.configs[TOPICS.state], **changed}
    return kafka


async def _flaws(kafka: FakeKafka) -> list[str]:
    with pytest.raises(ConfigError) as error:
        await check_topics(kafka, TOPICS, LIMIT)
    first, *flaws = str(error.value).splitlines()
    assert first == "the topics are not as they must be:"
    return flaws


async def test_created_topics_pass_the_check() -> None:
    """The two agree."""
    assert await check_topics(await _created(), TOPICS, LIMIT) == 4


async def test_created_topics_have_their_policies() -> None:
    """The public contract: tables are compacted, logs are deleted after a time; append time decides about retention."""
    kafka = await _created()
    assert set(kafka.logs) == {getattr(TOPICS, role) for role in ROLES}
    policies = {name: config["cleanup.policy"] for name, config in kafka.configs.items()}
    assert {name for name, policy in policies.items() if policy == "compact"} == {"run-state", "run-windows"}
    assert policies["run-instances"] == "compact,delete"
    stamped = {
        name for name, config in kafka.configs.items() if config.get("message.timestamp.type") == "LogAppendTime"
    }
    assert stamped == set(kafka.configs) - {"run-events"}


async def test_topics_get_the_partition_count_of_an_input_that_exists() -> None:
    """The public contract: --partitions is for a new input topic."""
    kafka = FakeKafka()
    await kafka.create([NewTopic(TOPICS.events, 7, {})])
    created = await create_topics(kafka, TOPICS, 4, LIMIT)
    assert TOPICS.events not in created
    assert _counts(kafka) == {7}


async def test_what_exists_is_left_as_it_is() -> None:
    """Only what is missing is created."""
    kafka = await _created()
    del kafka.logs[TOPICS.dead_letters]
    assert await create_topics(kafka, TOPICS, 9, LIMIT) == [TOPICS.dead_letters]
    assert await create_topics(kafka, TOPICS, 9, LIMIT) == []
    assert _counts(kafka) == {4}


@pytest.mark.parametrize(("wanted", "asked_for"), [(None, -1), (3, 3)])
async def test_each_topic_gets_the_copies_that_were_asked_for(wanted: int | None, asked_for: int) -> None:
    """docs/operating.md: 3 in production; without a wish the broker's own default, which Kafka knows as -1."""
    kafka = FakeKafka()
    await create_topics(kafka, TOPICS, 4, LIMIT, wanted)
    assert kafka.copies == dict.fromkeys((getattr(TOPICS, role) for role in ROLES), asked_for)


async def test_another_count_than_was_asked_for_is_refused_with_what_it_needs() -> None:
    """rules.md 4: the count of what exists is never changed, and whoever asks for another one is told so."""
    kafka = await _created()
    with pytest.raises(ConfigError) as error:
        await refuse_other_counts(kafka, TOPICS, 12)
    said = str(error.value)
    assert "another count than 12 and are left as they are" in said
    assert "4 partitions: run-alerts, run-events, run-events-dlq" in said
    assert "STREAMPROC_APPLICATION_ID" in said
    assert _counts(kafka) == {4}


async def test_the_count_that_is_there_may_be_asked_for() -> None:
    """rules.md 4: to repeat the command is no change, nor is a first creation."""
    await refuse_other_counts(await _created(), TOPICS, 4)
    await refuse_other_counts(FakeKafka(), TOPICS, 12)


async def test_a_topic_that_is_not_used_is_not_needed() -> None:
    """`verdicts.enabled`: nothing is written to it, so nobody has to create it."""
    kafka, unused = FakeKafka(), TOPICS.model_copy(update={"verdicts": None})
    assert "run-verdicts" not in await create_topics(kafka, unused, 4, LIMIT)
    assert await check_topics(kafka, unused, LIMIT) == 4


async def test_reports_of_instances_have_one_partition_and_may_have_any_number() -> None:
    """No key is looked for in a partition of some number, so nobody need ask for the same."""
    kafka = await _created()
    assert len(kafka.logs["run-instances"]) == 1
    await refuse_other_counts(kafka, TOPICS, 4)
    kafka.logs["run-instances"] = [Log(), Log()]
    assert await check_topics(kafka, TOPICS, LIMIT) == 4


async def test_reports_of_instances_are_compacted() -> None:
    """Else a console would read a day of them to find the latest; who keeps killed ones for longer may."""
    kafka = await _created()
    kafka.configs["run-instances"] = {"cleanup.policy": "compact"}
    assert await check_topics(kafka, TOPICS, LIMIT) == 4
    kafka.configs["run-instances"] = {"cleanup.policy": "delete"}
    [flaw] = await _flaws(kafka)
    assert "run-instances has cleanup.policy=delete, it must be compact,delete" in flaw


async def test_the_service_goes_on_without_a_topic_for_reports() -> None:
    """rules.md 26: an upgrade must not end for want of it; `topics check` tells."""
    kafka = await _created()
    del kafka.logs["run-instances"]
    assert await check_topics(kafka, TOPICS.needed(), LIMIT) == 4
    assert len(await _flaws(kafka)) == 1


@pytest.mark.parametrize("name", [getattr(TOPICS, role) for role in ROLES])
async def test_a_missing_topic_is_named_with_the_command_that_creates_it(name: str) -> None:
    """Each of them is written to, or read."""
    kafka = await _created()
    del kafka.logs[name]
    assert await _flaws(kafka) == [f"  - {absent(name)}"]


@pytest.mark.parametrize("name", ["run-state", "run-transitions", "run-measurements", "run-events-dlq"])
async def test_unequal_partition_counts_are_named_with_the_fix(name: str) -> None:
    """DESIGN.md, hazards: refused, because a run's state would be looked for in another partition."""
    kafka = await _created()
    kafka.logs[name] = [Log()]
    [flaw] = await _flaws(kafka)
    assert flaw.startswith(f"  - {name} has 1 partitions, run-events has 4: they must be equal; delete {name} while it")
    assert "`streamproc topics create`" in flaw


async def test_a_state_topic_that_deletes_is_named_with_the_fix() -> None:
    """Else Kafka would delete the states of runs that are long open."""
    [flaw] = await _flaws(await _created(**{"cleanup.policy": "compact,delete"}))
    assert "run-state has cleanup.policy=compact,delete, it must be compact" in flaw
    assert "alter the topic" in flaw


@pytest.mark.parametrize("name", ["run-state", "run-events-dlq"])
async def test_a_topic_that_admits_too_little_is_named_with_the_fix(name: str) -> None:
    """rules.md 10: what carries input records must take the largest that is admitted."""
    kafka = await _created()
    needed = LIMIT + ENVELOPE_BYTES
    kafka.configs[name] = {**kafka.configs[name], "max.message.bytes": str(needed - 1)}
    [flaw] = await _flaws(kafka)
    assert flaw.startswith(f"  - {name} has max.message.bytes={needed - 1}, it needs {needed}:")
    assert "STREAMPROC_KAFKA__MAX_RECORD_BYTES" in flaw
    kafka.configs[name] = {**kafka.configs[name], "max.message.bytes": str(needed)}
    assert await check_topics(kafka, TOPICS, LIMIT) == 4


async def test_all_flaws_are_reported_at_once() -> None:
    """Nobody wants to fix them one start at a time."""
    kafka = await _created(**{"cleanup.policy": "delete", "max.message.bytes": "1000"})
    del kafka.logs[TOPICS.transitions]
    kafka.logs[TOPICS.dead_letters] = [Log()]
    assert len(await _flaws(kafka)) == 4


async def test_a_prefix_goes_in_front_of_every_name() -> None:
    """STREAMPROC_TOPICS__PREFIX, once."""
    topics = TopicSettings(prefix="mine-").named()
    kafka = FakeKafka()
    names = await create_topics(kafka, topics.named(), 1, LIMIT)
    assert sorted(names) == sorted(f"mine-{getattr(TOPICS, role)}" for role in ROLES)
