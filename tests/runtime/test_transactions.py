"""One transaction for each commit, on a broker that answers as it is told: after whatever failure it never commits."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    KafkaConnectionError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    UnknownMemberIdError,
)
from aiokafka.record.memory_records import MemoryRecords

from streamproc.errors import ConfigError, TaskInvalid
from streamproc.runtime.aio import produce, transactions
from streamproc.runtime.aio.codes import FencedInstanceIdError, ProducerFencedError, error_of, name
from streamproc.runtime.aio.transactions import AioTransactions
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Committed, Member, OutputRefused, TopicPartition

SOURCE = TopicPartition("events", 0)
LOG, TABLE, FAR = TopicPartition("log", 0), TopicPartition("table", 0), TopicPartition("log", 1)
RECORD = b"key", b"value", 1_000, []
NO_ANSWER = None


class Broker:
    """Stands for the client: answers each kind of request with codes, in turn; 0 once there are none left."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.codes: dict[str, deque[Any]] = {}
        self.leaders = {LOG: 1, TABLE: 1, FAR: 2, TopicPartition("table", 1): 1}
        self.cluster = SimpleNamespace(leader_for_partition=lambda place: self.leaders.get(TopicPartition(*place)))
        self.hung_up = 0
        self.refreshed = 0
        self.ended: list[bool] = []

    def answers(self, kind: str, *codes: Any) -> None:
        """Answer requests of a kind so from here on: a code, a code by partition, NO_ANSWER, or what is raised."""
        self.codes[kind] = deque(codes)

    def kinds(self) -> list[str]:
        """Return what was asked, in its order."""
        return [kind for kind, _ in self.asked]

    async def bootstrap(self) -> None:
        """Nothing to do."""

    async def coordinator_lookup(self, _kind: Any, _key: str) -> int:
        """Say who coordinates."""
        return 7

    async def know(self, topics: set[str]) -> None:
        """Nothing to learn."""

    async def force_metadata_update(self) -> bool:
        """Take note."""
        self.refreshed += 1
        return True

    def hang_up(self) -> None:
        """Take note."""
        self.hung_up += 1

    async def stop(self) -> None:
        """Nothing to do."""

    async def send(self, _node: int, request: Any, **_group: Any) -> Any:
        """Answer."""
        kind = type(request).__name__.removesuffix("Request")
        built = request.build(request._CLASSES[-1])
        self.asked.append((kind, built))
        if kind == "EndTxn":
            self.ended.append(built.transaction_result)
        codes = self.codes.get(kind)
        code = codes.popleft() if codes else 0
        if code is NO_ANSWER:
            await asyncio.sleep(3_600)
        if isinstance(code, Exception):
            raise code
        if kind == "InitProducerId":
            return SimpleNamespace(error_code=code, producer_id=5, producer_epoch=3)
        if kind in ("EndTxn", "AddOffsetsToTxn"):
            return SimpleNamespace(error_code=code)
        topics = [
            (topic, [(each[0] if isinstance(each, tuple) else each) for each in partitions])
            for topic, partitions, *_ in built.topics
        ]

        def said(topic: str, partition: int) -> int:
            return code.get(TopicPartition(topic, partition), 0) if isinstance(code, dict) else code

        answer = [
            (
                topic,
                [(each, said(topic, each), *((0, 0, 0, [], None) if kind == "Produce" else ())) for each in each_of],
            )
            for topic, each_of in topics
        ]
        return SimpleNamespace(topics=answer, errors=answer)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker for every producer of the test; nobody waits for it."""
    broker = Broker()
    monkeypatch.setattr(transactions, "Client", lambda _settings: broker)
    monkeypatch.setattr(KafkaSettings, "commit_deadline_s", 60)
    monkeypatch.setattr(produce, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr("streamproc.runtime.aio.coordinators.FIRST_WAIT_S", 0.001)
    return broker


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a commit use up its time, which is enough to come as far as it should."""
    monkeypatch.setattr(KafkaSettings, "commit_deadline_s", 0.5)


async def started(settings: KafkaSettings | None = None) -> AioTransactions:
    """Return a producer that has fenced."""
    it = AioTransactions(settings or KafkaSettings(), "application", SOURCE)
    await it.fence()
    return it


async def commit(it: AioTransactions, *places: TopicPartition, member: Member | None = None) -> None:
    """Commit a record for each of these, and an offset."""
    await it.commit({place: [RECORD] for place in places or (LOG,)}, {SOURCE: Committed(1, "m")}, member)


@pytest.mark.parametrize(("given", "timeout_ms"), [({}, 15_000), ({"transaction_timeout_ms": 60_000}, 60_000)])
async def test_a_partition_has_a_transactional_id_and_a_time_within_which_it_commits(
    broker: Broker, given: dict[str, int], timeout_ms: int
) -> None:
    """rules.md 3 and 11: whoever takes a partition over fences by the id; left alone, a transaction ends by itself."""
    await started(KafkaSettings(**given))
    ((kind, request),) = broker.asked
    assert (kind, request.transactional_id, request.transaction_timeout_ms) == (
        "InitProducerId",
        "application:events:0",
        timeout_ms,
    )


async def test_a_commit_is_one_transaction_over_all_partitions(broker: Broker) -> None:
    """A request for each leader, and the offsets behind them: a broker would take one of the two only (4.1)."""
    it = await started()
    await commit(it, LOG, TABLE, FAR, member=Member(4, "me", "instance"))
    kinds = broker.kinds()[1:]
    assert kinds[0] == "AddPartitionsToTxn"
    assert sorted(kinds[1:4]) == ["AddOffsetsToTxn", "Produce", "Produce"]
    assert kinds[4:] == ["TxnOffsetCommit", "EndTxn"]
    assert broker.ended == [True]
    offsets = next(request for kind, request in broker.asked if kind == "TxnOffsetCommit")
    assert (offsets.generation, offsets.member_id, offsets.group_instance_id) == (4, "me", "instance")
    assert offsets.topics == [("events", [(0, 1, -1, "m", {})], {})]


async def test_records_are_numbered_from_commit_to_commit(broker: Broker) -> None:
    """By their partition; a leader refuses what comes twice, or is missing."""
    it = await started()
    for _ in range(2):
        await it.commit({LOG: [RECORD] * 3, TABLE: [RECORD]}, {})
    firsts: dict[str, list[int]] = {"log": [], "table": []}
    for kind, request in broker.asked:
        if kind == "Produce":
            for topic, ((_, data),) in request.topics:
                batch = MemoryRecords(bytes(data)).next_batch()
                assert (batch.producer_id, batch.producer_epoch, batch.is_transactional) == (5, 3, True)
                firsts[topic].append(batch.base_sequence)
    assert firsts == {"log": [0, 3], "table": [0, 1]}


@pytest.mark.parametrize("kind", ["AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit"])
@pytest.mark.parametrize("code", [25, 47, 82, 90, 999], ids=lambda code: type(error_of(code)).__name__)
async def test_whatever_is_refused_the_transaction_is_aborted_and_the_producer_done_with(
    broker: Broker, kind: str, code: int
) -> None:
    """The broker would commit all the same: a laboratory version did, and doubled."""
    it = await started()
    broker.answers(kind, code)
    with pytest.raises(TaskInvalid) as caught:
        await commit(it)
    assert type(caught.value.__cause__) is type(error_of(code))
    asked = len(broker.asked)
    with pytest.raises(TaskInvalid):
        await commit(it)
    assert (broker.ended, broker.hung_up, len(broker.asked)) == ([False], 1, asked)


async def test_what_the_observers_show_is_the_true_cause(broker: Broker) -> None:
    """By its name in Kafka's documentation, also of those that aiokafka does not know."""
    for code, kind in ((25, UnknownMemberIdError), (82, FencedInstanceIdError), (90, ProducerFencedError)):
        it = await started()
        broker.answers("TxnOffsetCommit", code)
        with pytest.raises(TaskInvalid, match=name(kind())) as caught:
            await commit(it)
        assert type(caught.value.__cause__) is kind


@pytest.mark.parametrize("kind", ["AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
@pytest.mark.parametrize("code", [14, 15, 16, 51], ids=lambda code: type(error_of(code)).__name__)
async def test_a_coordinator_that_is_busy_or_moved_is_asked_again(broker: Broker, kind: str, code: int) -> None:
    """The markers of the transaction before may not be written yet."""
    it = await started()
    broker.answers(kind, code, code)
    await commit(it)
    await commit(it)
    assert broker.ended.count(True) == len(broker.ended) == (4 if kind == "EndTxn" else 2)


async def test_a_fence_waits_for_the_end_of_the_transaction_before(broker: Broker) -> None:
    """rules.md 7: what is read behind a fence is the last word."""
    broker.answers("InitProducerId", 51, 14, 16)
    await started()
    assert broker.kinds() == ["InitProducerId"] * 4
    broker.answers("InitProducerId", 53)
    with pytest.raises(Denied, match="the right Write on transactional ids that begin with application:"):
        await started()


async def test_a_leader_that_moved_gets_the_same_batch(broker: Broker) -> None:
    """With the same numbers, so that it is not there twice."""
    it = await started()
    broker.answers("Produce", {LOG: NotLeaderForPartitionError.errno}, KafkaConnectionError())
    await commit(it, LOG, TABLE)
    sent = [dict(request.topics) for kind, request in broker.asked if kind == "Produce"]
    assert [list(each) for each in sent] == [["log", "table"], ["log"], ["log"]]
    assert sent[0]["log"] == sent[1]["log"] == sent[2]["log"]
    assert (broker.ended, broker.refreshed) == ([True], 2)


async def test_a_batch_that_is_there_already_counts_as_written(broker: Broker) -> None:
    """Its answer was lost."""
    it = await started()
    broker.answers("Produce", 46)
    await commit(it)
    assert broker.ended == [True]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (NotEnoughReplicasError.errno, "NOT_ENOUGH_REPLICAS, fewer replicas"),
        (NotEnoughReplicasAfterAppendError.errno, "NOT_ENOUGH_REPLICAS_AFTER_APPEND, fewer replicas"),
        (7, "REQUEST_TIMED_OUT, its replicas"),
        (18, "RECORD_LIST_TOO_LARGE"),
        (87, "INVALID_RECORD"),
        (6, "NOT_LEADER_FOR_PARTITION"),
    ],
)
async def test_a_partition_that_takes_nothing_is_named(broker: Broker, code: int, why: str) -> None:
    """All of them, so that the others can go on without."""
    it = await started()
    broker.answers("Produce", *[{LOG: code, TABLE: code}] * 9)
    with pytest.raises(OutputRefused, match=f"log partition 0 takes no records: {why}") as caught:
        await commit(it, LOG, TABLE, FAR)
    assert (caught.value.place, caught.value.places) == (LOG, {LOG, TABLE})
    assert isinstance(caught.value.__cause__, type(error_of(code)))
    assert broker.ended == [False]


async def test_a_partition_without_a_leader_is_named(broker: Broker) -> None:
    """Its replicas may be away for hours."""
    it = await started()
    broker.leaders[TABLE] = -1
    with pytest.raises(OutputRefused, match="table partition 0 takes no records: LEADER_NOT_AVAILABLE"):
        await commit(it, LOG, TABLE)
    assert broker.ended == [False]


async def test_a_partition_that_cannot_be_added_is_named(broker: Broker) -> None:
    """The others were not tried."""
    it = await started()
    broker.answers("AddPartitionsToTxn", {LOG: 55, TABLE: 3})
    with pytest.raises(OutputRefused, match="table partition 0 takes no records: UNKNOWN_TOPIC_OR_PARTITION") as caught:
        await commit(it, LOG, TABLE)
    assert caught.value.places == {TABLE}


@pytest.mark.parametrize(
    ("kind", "code", "advice"),
    [
        (
            "Produce",
            10,
            r"made of the records of events partition 0 before offset 1, is larger.*max.message.bytes of table",
        ),
        (
            "Produce",
            32,
            r"an output for table partition 0, made of .* has a timestamp.*message.timestamp.before.max.ms",
        ),
    ],
)
async def test_what_would_fail_again_and_again_says_what_to_change(
    broker: Broker, kind: str, code: int, advice: str
) -> None:
    """Whatever else is wrong."""
    it = await started()
    broker.answers(kind, {LOG: NotEnoughReplicasAfterAppendError.errno, TABLE: code})
    with pytest.raises(ConfigError, match=advice):
        await commit(it, LOG, TABLE)
    assert broker.ended == [False]


@pytest.mark.parametrize("kind", ["Produce", "AddPartitionsToTxn"])
async def test_an_output_that_may_not_be_written_is_told_with_the_right(broker: Broker, kind: str) -> None:
    """Whatever else is wrong; the transaction is given up, and may be tried again once the right is there."""
    it = await started()
    broker.answers(kind, {LOG: NotEnoughReplicasAfterAppendError.errno, TABLE: 29})
    with pytest.raises(Denied, match="lacks the right Write on topic table") as raised:
        await commit(it, LOG, TABLE)
    assert raised.value.places == {TABLE}
    assert broker.ended == [False]


async def test_a_timestamp_that_is_no_number_of_kafkas_is_one_that_no_topic_admits(broker: Broker) -> None:
    """It does not even fit a batch."""
    it = await started()
    with pytest.raises(ConfigError, match=r"an output for log partition 0, .* has a timestamp"):
        await it.commit({LOG: [(b"k", b"v", 2**70, [])]}, {SOURCE: Committed(1, "")})
    assert broker.ended == [False]


@pytest.mark.parametrize("failure", [NO_ANSWER, KafkaConnectionError()], ids=["silence", "reset"])
async def test_an_end_without_an_answer_is_of_unknown_outcome(
    broker: Broker, failure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither tried again nor taken back; and what is still on the way does not arrive in the next one."""
    if failure is NO_ANSWER:
        hurry(monkeypatch)
    it = await started()
    broker.answers("EndTxn", failure)
    with pytest.raises(TaskInvalid, match="was not confirmed"):
        await commit(it)
    with pytest.raises(TaskInvalid):
        await commit(it)
    assert (broker.ended, broker.hung_up) == ([True], 1)


@pytest.mark.parametrize("kind", ["AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce"])
async def test_nothing_is_aborted_that_may_still_be_written(
    broker: Broker, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that arrives behind an abort would begin a transaction that older brokers never end."""
    hurry(monkeypatch)
    it = await started()
    broker.answers(kind, NO_ANSWER)
    with pytest.raises(TaskInvalid, match="TimeoutError"):
        await commit(it)
    assert (broker.ended, broker.hung_up) == ([], 1)


@pytest.mark.parametrize("codes", [[47], [51] * 1_000], ids=["refused", "busy until the deadline"])
async def test_an_end_that_was_asked_for_is_not_followed_by_an_abort(
    broker: Broker, codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been a commit: whether it was is for the next fence to settle, and for the offsets behind it."""
    if len(codes) > 1:
        hurry(monkeypatch)
    it = await started()
    broker.answers("EndTxn", *codes)
    with pytest.raises(TaskInvalid):
        await commit(it)
    assert set(broker.ended) == {True}


async def test_a_deadline_says_what_it_was_spent_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than that there was one."""
    hurry(monkeypatch)
    it = await started()
    broker.answers("AddPartitionsToTxn", *[51] * 1_000)
    with pytest.raises(TaskInvalid, match="CONCURRENT_TRANSACTIONS") as caught:
        await commit(it)
    assert isinstance(caught.value.__cause__, ConcurrentTransactions)
    assert broker.ended == [False]


async def test_a_commit_that_is_cancelled_is_none(broker: Broker) -> None:
    """And leaves a producer that is good for nothing."""
    it = await started()
    broker.answers("TxnOffsetCommit", NO_ANSWER)
    committing = asyncio.create_task(commit(it))
    while "TxnOffsetCommit" not in broker.kinds():
        await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    with pytest.raises(TaskInvalid):
        await commit(it)
    assert (broker.ended, broker.hung_up) == ([], 1)


async def test_an_abort_that_fails_changes_nothing(broker: Broker) -> None:
    """What is raised is why it was given up."""
    it = await started()
    broker.answers("TxnOffsetCommit", 22)
    broker.answers("EndTxn", InvalidProducerEpoch.errno)
    with pytest.raises(TaskInvalid, match="ILLEGAL_GENERATION"):
        await commit(it)
    assert broker.ended == [False]


async def test_a_leader_gets_no_more_in_a_request_than_a_broker_takes(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a partition one batch in each: Kafka takes no more. In their order."""
    monkeypatch.setattr(produce, "REQUEST_BYTES", 2_500_000)
    it = await started()
    large = [(b"k", bytes(400_000), 1_000, [])]
    await it.commit({LOG: large * 5, TABLE: large * 2, TopicPartition("table", 1): large}, {})
    requests = [request for kind, request in broker.asked if kind == "Produce"]
    for request in requests:
        batches = [data for _, partitions in request.topics for _, data in partitions]
        assert sum(map(len, batches)) <= 2_500_000
    numbers = [
        MemoryRecords(bytes(data)).next_batch().base_sequence
        for request in requests
        for topic, ((_, data), *_) in request.topics
        if topic == "log"
    ]
    assert numbers == [0, 2, 4]
