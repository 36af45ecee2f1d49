"""Whatever aiokafka's producer raises in the middle of a transaction invalidates the task, and no more."""

from typing import Any

import pytest
from aiokafka.errors import ProducerFenced

from streamproc.errors import TaskInvalid
from streamproc.runtime.aio.transactions import AioTransactions
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, TopicPartition

SOURCE, LOG = TopicPartition("events", 0), TopicPartition("log", 0)


@pytest.mark.parametrize(("given", "timeout_ms"), [({}, 15_000), ({"transaction_timeout_ms": 60_000}, 60_000)])
async def test_a_partition_has_a_transactional_id_and_a_time_within_which_it_commits(
    given: dict[str, int], timeout_ms: int
) -> None:
    """rules.md 3 and 11: whoever takes a partition over fences by the id; left alone, a transaction ends by itself."""
    transactions = AioTransactions(KafkaSettings(**given), "application", SOURCE)
    manager: Any = transactions._producer._txn_manager
    assert (manager.transactional_id, manager.transaction_timeout_ms) == ("application:events:0", timeout_ms)
    await transactions.close()


async def test_a_fencing_that_is_heard_of_between_two_sends_invalidates_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A zombie's send is refused while its next one waits for metadata: that one says IllegalOperation."""
    transactions = AioTransactions(KafkaSettings(), "group", SOURCE)
    producer = transactions._producer
    manager: Any = producer._txn_manager
    manager.set_pid_and_epoch(1, 0)

    async def refused_meanwhile(topic: str) -> None:
        manager.fatal_error(ProducerFenced())

    monkeypatch.setattr(producer.client, "_wait_on_metadata", refused_meanwhile)
    monkeypatch.setattr(producer, "_partition", lambda *_: LOG.partition)
    with pytest.raises(TaskInvalid, match="IllegalOperation"):
        await transactions.commit({LOG: [(b"key", b"value", 0, [])]}, Committed(1, ""), lambda: True)
    await transactions.close()
