"""What the admin client's answers are taken for."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError
from aiokafka.structs import OffsetAndMetadata

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio import cluster
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed

SOURCE = TopicPartition("run-events", 0)


class Admin:
    """Answers in turn; an exception is raised."""

    made = 0

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


@pytest.mark.parametrize("failure", [NodeNotReadyError("gone"), TimeoutError()])
async def test_after_a_failure_a_new_client_asks(kafka: AioKafka, failure: Exception) -> None:
    """The old one knows only where the brokers were; one client at a time, and none is left open."""
    kafka.answers += [failure, {SOURCE: OffsetAndMetadata(1, "")}]  # type: ignore[attr-defined]
    assert await kafka.committed(SOURCE) == Committed(1, "")
    assert Admin.made == 2
    await kafka.close()
    assert kafka._admin is None
