"""What the admin client's answers are taken for."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError
from aiokafka.structs import OffsetAndMetadata

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio import cluster
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, NewTopic, TopicInfo

SOURCE = TopicPartition("run-events", 0)
MISSING, NO_LEADER, DENIED = 3, 5, 29
"""Kafka's error codes."""


class Admin:
    """Answers in turn; an exception is raised."""

    made = 0
    cluster = SimpleNamespace(controller="a broker")

    def __init__(self, answers: list[Any]) -> None:
        self._answers = answers
        self._client = self
        self.closed = False
        Admin.made += 1

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Take note."""
        self.closed = True

    async def list_consumer_group_offsets(self, _group: str, partitions: list[TopicPartition]) -> Any:  # noqa: ARG002
        """Answer."""
        return self._answer()

    async def _send_request(self, _request: Any) -> Any:
        return self._answer()

    async def create_topics(self, _topics: list[Any]) -> Any:
        """Answer."""
        return self._answer()

    async def describe_configs(self, _resources: list[Any]) -> Any:
        """Answer."""
        return self._answer()

    def _answer(self) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> AioKafka:
    """A cluster whose admin clients take their answers from `kafka.answers`."""
    kafka = AioKafka(KafkaSettings(), "group")
    kafka.answers = []  # type: ignore[attr-defined]
    Admin.made = 0
    monkeypatch.setattr(cluster, "AIOKafkaAdminClient", lambda **_: Admin(kafka.answers))  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster, "RETRY_S", 0.0)
    return kafka


async def test_an_answer_without_the_partition_is_no_answer(kafka: AioKafka) -> None:
    """A coordinator that is still loading the group; as "nothing committed" it would replay the whole input."""
    kafka.answers += [{}, {}, {SOURCE: OffsetAndMetadata(7, "at 7")}]  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) == Committed(7, "at 7")


async def test_a_group_that_stays_away_is_an_outage(kafka: AioKafka) -> None:
    """Never "nothing committed"."""
    kafka.answers += [{}] * cluster.ADMIN_ATTEMPTS  # type: ignore[attr-defined]
    with pytest.raises(BrokerUnavailable, match="GroupCoordinatorNotAvailable"):
        await kafka.committed(SOURCE)


async def test_no_committed_offset_is_what_kafka_says_it_is(kafka: AioKafka) -> None:
    """-1 for a partition that was asked for."""
    kafka.answers.append({SOURCE: OffsetAndMetadata(-1, "")})  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) is None


def described(code: int = 0) -> Any:
    """Return an answer about the topic's partitions."""
    topics = [{"topic": "run-events", "error_code": code, "partitions": [] if code else [0, 1]}]
    return SimpleNamespace(to_object=lambda: {"topics": topics})


def configured(code: int = 0) -> list[Any]:
    """Return an answer about the topic's settings."""
    entries = [] if code else [("retention.ms", "3600000", False, 0, False, [])]
    return [SimpleNamespace(resources=[(code, "", 2, "run-events", entries)])]


async def test_a_topic_is_missing_only_where_kafka_says_so(kafka: AioKafka) -> None:
    """One without a leader is asked for again, as is one whose settings do not come."""
    kafka.answers += [described(MISSING), described(NO_LEADER), described()]  # type: ignore[attr-defined]
    assert await kafka.partition_count("run-events") == 0
    assert await kafka.partition_count("run-events") == 2
    kafka.answers += [described(), configured(NO_LEADER), described(), configured()]  # type: ignore[attr-defined]
    (found,) = (await kafka.topics(["run-events"])).values()
    assert found == TopicInfo(2, {"retention.ms": "3600000"})


async def test_a_topic_is_created_once_the_broker_tells_of_it(kafka: AioKafka) -> None:
    """Else the next command might call it missing."""
    created = SimpleNamespace(topic_errors=[("run-events", 0, None)])
    kafka.answers += [created, described(MISSING), described(MISSING), described()]  # type: ignore[attr-defined]
    await kafka.create([NewTopic("run-events", 2, {})])
    assert kafka.answers == []  # type: ignore[attr-defined]


async def test_a_topic_that_goes_between_two_questions_is_missing(kafka: AioKafka) -> None:
    """Not one without limits."""
    kafka.answers += [described(), configured(MISSING), described(MISSING), []]  # type: ignore[attr-defined]
    assert await kafka.topics(["run-events"]) == {}


@pytest.mark.parametrize(
    ("answers", "permission"),
    [([described(DENIED)], "Describe"), ([described(), configured(DENIED)], "DescribeConfigs")],
)
async def test_a_permission_that_lacks_is_named(kafka: AioKafka, answers: list[Any], permission: str) -> None:
    """Neither is the topic missing, nor without limits: a replay would write what retention removes at once."""
    kafka.answers += answers  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=f"run-events: the user needs the permission {permission} on it"):
        await kafka.topics(["run-events"])


async def test_several_offsets_are_asked_for_at_once(kafka: AioKafka) -> None:
    """Those that Kafka has; an answer that lacks one of them is none."""
    other = TopicPartition("run-events", 1)
    told = {SOURCE: OffsetAndMetadata(7, "at 7"), other: OffsetAndMetadata(-1, "")}
    kafka.answers += [{SOURCE: told[SOURCE]}, told]  # type: ignore[attr-defined]
    assert await kafka.offsets([SOURCE, other]) == {SOURCE: Committed(7, "at 7")}
    assert await kafka.offsets([]) == {}


@pytest.mark.parametrize("failure", [NodeNotReadyError("gone"), TimeoutError()])
async def test_after_a_failure_a_new_client_asks(kafka: AioKafka, failure: Exception) -> None:
    """The old one knows only where the brokers were; one client at a time, and none is left open."""
    kafka.answers += [failure, {SOURCE: OffsetAndMetadata(1, "")}]  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) == Committed(1, "")
    assert Admin.made == 2
    await kafka.close()
    assert kafka._admin is None
