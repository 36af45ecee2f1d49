"""A broker with Kafka's default: whoever asks for a missing topic, and does not say otherwise, creates it."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streamproc.errors import ConfigError
from streamproc.local.kafka import LocalKafka
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings, TopicSettings
from streamproc.runtime.topics import ROLES, check_topics, create_topics

TOPICS = TopicSettings()
LIMIT = 1_048_576


@pytest.fixture
async def bootstrap() -> AsyncIterator[str]:
    """A broker of its own: the setting cannot be changed while it runs."""
    broker = LocalKafka(properties={"auto.create.topics.enable": "true"})
    await broker.start()
    yield broker.bootstrap_servers
    await broker.stop()


async def _there(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return {name for name in await admin.list_topics() if not name.startswith("__")}
    finally:
        await admin.close()


async def test_looking_for_topics_creates_none(bootstrap: str) -> None:
    """Else `topics create` would find them there, with the wrong policy."""
    kafka = AioKafka(KafkaSettings(bootstrap_servers=bootstrap), "group")
    with pytest.raises(ConfigError, match="run-state does not exist: run `streamproc topics create`"):
        await check_topics(kafka, TOPICS, LIMIT)
    assert await kafka.partition_count("run-events-dlq-replays") == 0
    assert await _there(bootstrap) == set()
    created = await create_topics(kafka, TOPICS, 3, LIMIT)
    assert set(created) == await _there(bootstrap) == {getattr(TOPICS, role) for role in ROLES}
    assert await check_topics(kafka, TOPICS, LIMIT) == 3
    await kafka.close()
