"""What answers to questions about the cluster are taken for."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio import cluster, inquiries
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Committed, NewTopic, TopicInfo, TopicPartition
from tests.support.waiting import eventually

SOURCE, OTHER = TopicPartition("run-events", 0), TopicPartition("run-events", 1)
MISSING, NO_LEADER, LOADING, MOVED, DENIED, UNSTABLE = 3, 5, 14, 16, 29, 88
"""Kafka's error codes."""


class Client:
    """Answers in turn; an exception is raised."""

    made: list["Client"] = []  # noqa: RUF012  emptied by the fixture

    def __init__(self, answers: list[Any]) -> None:
        self._answers = answers
        self.cluster = SimpleNamespace(controller=SimpleNamespace(nodeId=1))
        self.closed = False
        Client.made.append(self)

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Take note."""
        self.closed = True

    def get_random_node(self) -> int:
        """Return the only one."""
        return 1

    async def coordinator_lookup(self, _kind: Any, _key: str) -> int:
        """Return the only one."""
        return 1

    async def send(self, _node: int, _request: Any) -> Any:
        """Answer."""
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> AioKafka:
    """A cluster whose clients take their answers from `kafka.answers`."""
    kafka = AioKafka(KafkaSettings(), "group")
    kafka.answers = []  # type: ignore[attr-defined]
    Client.made = []
    monkeypatch.setattr(inquiries, "Client", lambda *_: Client(kafka.answers))  # type: ignore[attr-defined]
    monkeypatch.setattr(inquiries, "RETRY_S", 0.0)
    monkeypatch.setattr(cluster, "RETRY_S", 0.0)
    return kafka


def offsets(*found: tuple[int, int, str] | tuple[int, int, str, int], code: int = 0) -> Any:
    """Return an answer about offsets: partition, offset, metadata and error code of each, and one for all."""
    partitions = [(each[0], each[1], -1, each[2], each[3] if len(each) > 3 else 0, {}) for each in found]
    return SimpleNamespace(error_code=code, topics=[("run-events", partitions, {})])


async def test_an_answer_without_the_partition_is_no_answer(kafka: AioKafka) -> None:
    """A coordinator that is still loading the group; as "nothing committed" it would replay the whole input."""
    kafka.answers += [offsets(), offsets(code=LOADING), offsets((0, -1, "", MOVED)), offsets((0, 7, "at 7"))]  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) == Committed(7, "at 7")


async def test_a_group_that_stays_away_is_an_outage(kafka: AioKafka) -> None:
    """Never "nothing committed"."""
    kafka.answers += [offsets()] * inquiries.ATTEMPTS  # type: ignore[attr-defined]
    with pytest.raises(BrokerUnavailable, match="COORDINATOR_NOT_AVAILABLE"):
        await kafka.committed(SOURCE)
    kafka.answers += [offsets(code=DENIED)] * inquiries.ATTEMPTS  # type: ignore[attr-defined]
    with pytest.raises(BrokerUnavailable, match="TOPIC_AUTHORIZATION_FAILED"):
        await kafka.stable([SOURCE])


async def test_no_committed_offset_is_what_kafka_says_it_is(kafka: AioKafka) -> None:
    """-1 for a partition that was asked for."""
    kafka.answers.append(offsets((0, -1, "")))  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) is None


async def test_an_offset_that_a_transaction_may_still_change_is_left_out(kafka: AioKafka) -> None:
    """It is no answer, and no failure either: the others count."""
    kafka.answers.append(offsets((0, -1, "", UNSTABLE), (1, 7, "at 7")))  # type: ignore[attr-defined]
    assert await kafka.stable([SOURCE, OTHER]) == {OTHER: Committed(7, "at 7")}
    kafka.answers.append(offsets((0, -1, ""), (1, 7, "at 7")))  # type: ignore[attr-defined]
    assert await kafka.stable([SOURCE, OTHER]) == {SOURCE: None, OTHER: Committed(7, "at 7")}


def described(code: int = 0) -> Any:
    """Return an answer about the topic's partitions."""
    topics = [{"topic": "run-events", "error_code": code, "partitions": [] if code else [0, 1]}]
    return SimpleNamespace(to_object=lambda: {"topics": topics})


def configured(code: int = 0) -> Any:
    """Return an answer about the topic's settings."""
    entries = [] if code else [("retention.ms", "3600000", False, 0, False, [])]
    return SimpleNamespace(resources=[(code, "", 2, "run-events", entries)])


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
    kafka.answers += [described(), configured(MISSING), described(MISSING)]  # type: ignore[attr-defined]
    assert await kafka.topics(["run-events"]) == {}


@pytest.mark.parametrize(
    ("answers", "permission"),
    [([described(DENIED)], "Describe"), ([described(), configured(DENIED)], "DescribeConfigs")],
)
async def test_a_permission_that_lacks_is_named(kafka: AioKafka, answers: list[Any], permission: str) -> None:
    """Neither is the topic missing, nor without limits: a replay would write what retention removes at once."""
    kafka.answers += answers  # type: ignore[attr-defined]
    with pytest.raises(Denied, match=f"the user lacks the right {permission} on topic run-events"):
        await kafka.topics(["run-events"])


async def test_several_offsets_are_asked_for_at_once(kafka: AioKafka) -> None:
    """Those that Kafka has; an answer that lacks one of them is none."""
    kafka.answers += [offsets((0, 7, "at 7")), offsets((0, 7, "at 7"), (1, -1, ""))]  # type: ignore[attr-defined]
    assert await kafka.offsets([SOURCE, OTHER]) == {SOURCE: Committed(7, "at 7")}
    assert await kafka.offsets([]) == {}


@pytest.mark.parametrize("failure", [NodeNotReadyError("gone"), TimeoutError()])
async def test_after_a_failure_a_new_client_asks(kafka: AioKafka, failure: Exception) -> None:
    """The old one knows only where the brokers were; one client at a time, and none is left open."""
    kafka.answers += [failure, offsets((0, 1, ""))]  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) == Committed(1, "")
    assert [client.closed for client in Client.made] == [True, False]
    await kafka.close()
    assert [client.closed for client in Client.made] == [True, True]


async def test_a_client_that_nobody_asks_is_not_kept_open(kafka: AioKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker asks now and then, and has few connections. The next question gets a new one."""
    monkeypatch.setattr(inquiries, "IDLE_S", 0.0)
    for count in (1, 2):
        kafka.answers.append(offsets((0, 1, "")))  # type: ignore[attr-defined]
        await kafka.committed(SOURCE)
        await eventually(lambda count=count: [client.closed for client in Client.made] == [True] * count)
