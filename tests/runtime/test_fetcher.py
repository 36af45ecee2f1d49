"""The fetcher on brokers that answer as they are told: what it asks for, when, and what it makes of the answers."""

import asyncio
import math
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio import fetched
from streamproc.runtime.aio import fetcher as module
from streamproc.runtime.aio.fetcher import SILENCE_S, AioFetcher
from streamproc.runtime.aio.fetchwire import PartitionData
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Fetched, Gone, TopicPartition, Unreadable
from streamproc.runtime.rights import Operation, Resource, Right
from tests.support.waiting import eventually

A, B, C = (TopicPartition("events", number) for number in range(3))
ALL = {A: 100, B: 100, C: 100}
OUT_OF_RANGE = 1


def batch(first: int, count: int, size: int = 10) -> bytes:
    """Return a batch whose records have these offsets."""
    builder = BatchBuilder(50_000_000, 0)
    for _ in range(count):
        assert builder.append(timestamp=1_000, key=b"k", value=bytes(size)) is not None
    built = bytearray(builder._build())
    built[:8] = first.to_bytes(8)
    return bytes(built)


class Cluster:
    """Stands for the client. A log is a list of batches; a request waits until there is something to say."""

    def __init__(self) -> None:
        self.logs: dict[TopicPartition, list[bytes]] = {A: [], B: [], C: []}
        self.hidden: set[str] = set()
        self.ends = Counter[TopicPartition]()
        self.firsts = Counter[TopicPartition]()
        self.leaders: dict[TopicPartition, int | None] = dict.fromkeys(self.logs, 1)
        self.codes: dict[TopicPartition, int] = {}
        self.failures: dict[int, Exception] = {}
        self.silent: set[int] = set()
        self.asked: list[tuple[int, dict[TopicPartition, int], int]] = []
        self.refreshes = 0
        self.forgotten = 0
        self.under_way = 0
        self.most_bytes = 1 << 30
        self.cluster = SimpleNamespace(leader_for_partition=lambda place: self.leaders.get(TopicPartition(*place)))

    def write(self, place: TopicPartition, count: int, size: int = 10) -> None:
        """Append a batch."""
        self.logs[place].append(batch(self.ends[place], count, size))
        self.ends[place] += count

    def damage(self, place: TopicPartition, count: int) -> None:
        """Append a batch that cannot be read."""
        damaged = bytearray(batch(self.ends[place], count))
        damaged[-1] ^= 1
        self.logs[place].append(bytes(damaged))
        self.ends[place] += count

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def refresh(self, _topics: set[str]) -> None:
        """Take note."""
        self.refreshes += 1

    async def know(self, _topics: set[str]) -> None:
        """Nothing to learn."""

    def forget(self, *_: Any) -> None:
        """Take note."""
        self.forgotten += 1

    async def send(self, leader: int, request: Any) -> Any:
        """Answer a fetch, or say how far a partition goes."""
        if type(request).__name__ == "OffsetRequest":
            ((topic, ((partition, at),)),) = request._topics
            place = TopicPartition(topic, partition)
            found = self.firsts[place] if at == -2 else self.ends[place]
            return SimpleNamespace(topics=[(topic, [(partition, 0, -1, found)])])
        wanted = {TopicPartition(topic, each): at for topic, parts in request.topics for each, at in parts}
        self.asked.append((leader, wanted, request.wait_ms))
        self.under_way += 1
        try:
            if leader in self.failures:
                raise self.failures[leader]
            if leader in self.silent:
                await asyncio.sleep(3_600)
            return await self._answer(wanted, request.wait_ms / 1000)
        finally:
            self.under_way -= 1

    async def _answer(self, wanted: dict[TopicPartition, int], wait_s: float) -> Any:
        end = asyncio.get_running_loop().time() + wait_s
        while not any(self._has(place, at) for place, at in wanted.items()):
            if asyncio.get_running_loop().time() >= end:
                break
            await asyncio.sleep(0.001)
        left, answers = self.most_bytes, []
        for place, at in wanted.items():
            data = b"" if place in self.codes else self._from(place, at, left)
            left -= len(data)
            code = self.codes.get(place, 0 if self.firsts[place] <= at <= self.ends[place] else 1)
            answers.append(PartitionData(place, code, self.ends[place], self.ends[place], [], data))
        await asyncio.sleep(0)
        return SimpleNamespace(answers=answers)

    def _has(self, place: TopicPartition, at: int) -> bool:
        return place in self.codes or at != self.ends[place]

    def _from(self, place: TopicPartition, at: int, left: int) -> bytes:
        found = b""
        for each in self.logs[place]:
            end = int.from_bytes(each[:8]) + int.from_bytes(each[57:61])
            if end > at:
                if len(found) + len(each) > left:
                    break
                found += each
        return found


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Brokers for the fetcher of the test, which it leaves alone only for a moment."""
    cluster = Cluster()
    monkeypatch.setattr(module, "Client", lambda *_: cluster)
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.01)
    return cluster


@pytest.fixture
async def fetcher(cluster: Cluster) -> Any:
    """A fetcher of all partitions from the beginning on."""
    fetcher = AioFetcher(KafkaSettings())
    await fetcher.start()
    for place in ALL:
        fetcher.seek(place, 0)
    yield fetcher
    await fetcher.close()
    assert cluster.under_way == 0


async def gather(fetcher: AioFetcher, shares: dict[TopicPartition, int], polls: int = 10) -> dict[TopicPartition, Any]:
    """Poll so often; return the offsets of each partition in the order in which they came."""
    found: dict[TopicPartition, list[int]] = {place: [] for place in shares}
    for _ in range(polls):
        for place, each in (await fetcher.poll(shares, 0.02)).items():
            found[place] += [record.offset for record in each.records]
            assert len(each.records) <= shares[place]
    return found


async def test_a_leader_is_asked_for_all_its_partitions_at_once(fetcher: AioFetcher, cluster: Cluster) -> None:
    """And each leader for its own."""
    cluster.leaders[C] = 2
    for place in ALL:
        cluster.write(place, 3)
    found = await gather(fetcher, ALL)
    assert found == {place: [0, 1, 2] for place in ALL}
    assert [(leader, set(wanted)) for leader, wanted, _ in cluster.asked[:2]] == [(1, {A, B}), (2, {C})]


async def test_nothing_is_asked_for_while_nobody_polls(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Nor of a partition that nobody polls."""
    cluster.write(A, 3)
    await asyncio.sleep(0.01)
    assert cluster.asked == []
    await gather(fetcher, {A: 10})
    assert {place for _, wanted, _ in cluster.asked for place in wanted} == {A}
    await eventually(lambda: not fetcher._requests)
    asked = len(cluster.asked)
    await asyncio.sleep(0.05)
    assert len(cluster.asked) == asked


async def test_a_quiet_stream_costs_one_request_for_each_poll(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Which the broker holds for as long as the poll waits."""
    for _ in range(5):
        found = await fetcher.poll(ALL, 0.02)
        assert all(each.caught_up and not each.records for each in found.values())
    assert len(cluster.asked) <= 6
    assert all(wait_ms <= 20 for _, _, wait_ms in cluster.asked)


async def test_a_slow_stream_costs_one_request_for_each_record(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Nothing more is known to be there: so nothing is asked for in advance."""
    while not await fetcher.poll(ALL, 0.05):
        pass
    before = len(cluster.asked)
    for number in range(5):
        cluster.write(A, 1)
        found = await fetcher.poll(ALL, 5)
        assert [record.offset for record in found[A].records] == [number]
    assert len(cluster.asked) == before + 5


async def test_what_comes_next_is_there_before_it_is_polled(fetcher: AioFetcher, cluster: Cluster) -> None:
    """In a backlog, neither twice nor not at all."""
    cluster.most_bytes = 400
    for number in range(30):
        cluster.write((A, B, C)[number % 3], 3)
    first = await fetcher.poll(ALL, 5)
    assert any(each.records for each in first.values())
    await eventually(lambda: any(each.has_news for each in fetcher._partitions.values()))
    found = {place: [record.offset for record in each.records] for place, each in first.items()}
    for place, offsets in (await gather(fetcher, ALL, 60)).items():
        assert found.get(place, []) + offsets == list(range(30))


async def test_a_partition_gets_its_share_and_the_rest_later(fetcher: AioFetcher, cluster: Cluster) -> None:
    """In its order, whatever the others get."""
    cluster.write(A, 10)
    cluster.write(B, 3)
    shares = {A: 4, B: 100, C: 1}
    found = await fetcher.poll(shares, 5)
    assert {place: len(each.records) for place, each in found.items() if each.records} == {A: 4, B: 3}
    assert not found[A].caught_up
    cluster.write(B, 1)
    assert await gather(fetcher, shares) == {A: [4, 5, 6, 7, 8, 9], B: [3], C: []}


async def test_all_partitions_come_in_their_turn(fetcher: AioFetcher, cluster: Cluster) -> None:
    """A broker fills its answer from the front: what came last time is asked for last."""
    cluster.most_bytes = 200
    for place in ALL:
        for _ in range(20):
            cluster.write(place, 1)
    seen = []
    for _ in range(6):
        for place, each in (await fetcher.poll(ALL, 5)).items():
            if each.records:
                seen.append(place)
                fetcher.seek(place, 0)
    assert set(seen[:4]) == set(ALL)


async def test_a_quiet_partition_is_heard_of_while_another_has_much_to_read(
    fetcher: AioFetcher, cluster: Cluster
) -> None:
    """Else its deadlines would wait for the other's backlog."""
    for _ in range(50):
        cluster.write(A, 10)
    shares, heard = {A: 10, B: 10, C: 10}, Counter[TopicPartition]()
    for number in range(40):
        if number == 20:
            cluster.write(B, 1)
        found = await fetcher.poll(shares, 5)
        await asyncio.sleep(0.001)
        heard.update(place for place, each in found.items() if each.caught_up)
        if number >= 20 and found.get(B) and found[B].records:
            break
    else:
        pytest.fail("it waits for the other's end")
    assert heard[C]


async def test_an_answer_for_where_it_was_before_counts_for_nothing(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Somebody sought elsewhere, or dropped it, while it was under way; or after it came."""
    cluster.write(A, 10)
    polling = asyncio.create_task(fetcher.poll({A: 2}, 5))
    while not cluster.under_way:
        await asyncio.sleep(0)
    fetcher.seek(A, 7)
    assert [record.offset for record in (await polling)[A].records] == [7, 8]
    fetcher.seek(A, 3)
    assert [record.offset for record in (await fetcher.poll({A: 2}, 5))[A].records] == [3, 4]
    polling = asyncio.create_task(fetcher.poll({A: 2, B: 1}, 0.02))
    fetcher.drop(A)
    fetcher.drop(A)
    assert A not in await polling
    assert A not in await fetcher.poll({A: 2, B: 1}, 0.02)
    assert (fetcher.lag(A), fetcher.read_all(A)) == (None, False)


async def test_a_poll_that_is_cancelled_loses_nothing(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Whoever has no more time for it polls again."""
    found: list[int] = []
    for _ in range(20):
        cluster.write(A, 1)
        polling = asyncio.create_task(fetcher.poll(ALL, 5))
        for _ in range(len(found) % 4):
            await asyncio.sleep(0)
        polling.cancel()
        await asyncio.wait({polling})
        if not polling.cancelled():
            found += [record.offset for record in polling.result().get(A, module.NOTHING).records]
    while len(found) < 20:
        found += [record.offset for record in (await fetcher.poll(ALL, 5)).get(A, module.NOTHING).records]
    assert found == list(range(20))


async def test_the_trouble_of_one_partition_leaves_the_others_alone(fetcher: AioFetcher, cluster: Cluster) -> None:
    """What lies in front of it comes first; and it comes again until somebody goes past it."""
    cluster.write(A, 2)
    cluster.damage(A, 3)
    cluster.write(A, 1)
    cluster.firsts[B], cluster.ends[B] = 5, 5
    troubles: dict[TopicPartition, list[Any]] = {A: [], B: []}
    offsets: list[int] = []
    for number in range(20):
        cluster.write(C, 1)
        found = await fetcher.poll(ALL, 1)
        for place in (A, B):
            if place in found and found[place].trouble is not None:
                assert (list(found[place].records), found[place].caught_up) == ([], False)
                troubles[place].append(found[place].trouble)
        offsets += [record.offset for record in found[A].records] if A in found else []
        if number == 10:
            fetcher.seek(A, 5)
            fetcher.seek(B, 5)
    assert offsets == [0, 1, 5]
    assert len(troubles[A]) > 1
    assert isinstance(troubles[A][0], Unreadable)
    assert (troubles[A][0].first, troubles[A][0].last) == (2, 4)
    assert isinstance(troubles[B][0], Gone)
    assert troubles[B][0].first == 5
    assert "offset 0 of events partition 1 is no longer there (it holds 5 to 5)" in str(troubles[B][0])


async def test_a_refused_offset_that_the_partition_has_is_asked_for_again(
    fetcher: AioFetcher, cluster: Cluster
) -> None:
    """A broker that lost its disk refuses what the other replicas have (seen on three brokers)."""
    cluster.write(A, 3)
    cluster.codes[A] = OUT_OF_RANGE
    while cluster.refreshes < 3:
        assert A not in await fetcher.poll(ALL, 0.01)
    del cluster.codes[A]
    assert await polled(fetcher, A) == [0, 1, 2]


async def test_a_partition_that_seems_shorter_for_a_moment_is_asked_again(
    fetcher: AioFetcher, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new leader may not know yet how far the partition goes."""
    monkeypatch.setattr(fetched, "DOUBT_S", math.inf)
    fetcher.seek(A, 3)
    while cluster.refreshes < 3:
        assert A not in await fetcher.poll(ALL, 0.01)
    cluster.write(A, 4)
    assert await polled(fetcher, A) == [3]


async def test_an_offset_beyond_the_end_is_gone_after_a_while(
    fetcher: AioFetcher, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched, "DOUBT_S", 0.01)
    cluster.write(A, 3)
    fetcher.seek(A, 7)
    while A not in (found := await fetcher.poll(ALL, 1)):
        pass
    assert isinstance(found[A].trouble, Gone)
    assert found[A].trouble.first is None
    assert "offset 7 of events partition 0 is no longer there (it holds 0 to 3)" in str(found[A].trouble)


async def polled(fetcher: AioFetcher, place: TopicPartition) -> list[int]:
    """Return the offsets of the next records of a partition."""
    while place not in (found := await fetcher.poll(ALL, 1)):
        pass
    return [record.offset for record in found[place].records]


async def test_a_leader_that_is_none_any_more_is_looked_for(fetcher: AioFetcher, cluster: Cluster) -> None:
    """As is one that nobody knows of yet; neither is asked on and on."""
    cluster.leaders[B], cluster.codes[C] = None, 6
    for place in ALL:
        cluster.write(place, 1)
    assert await gather(fetcher, ALL) == {A: [0], B: [], C: []}
    assert cluster.refreshes
    cluster.leaders[B], cluster.leaders[C], cluster.codes = 1, 2, {}
    assert await gather(fetcher, ALL) == {A: [], B: [0], C: [0]}


@pytest.mark.parametrize("failure", [KafkaConnectionError("gone"), None], ids=["gone", "silent"])
async def test_a_broker_that_is_away_is_left_alone_and_the_others_go_on(
    fetcher: AioFetcher, cluster: Cluster, failure: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked a few times a second at most."""
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.1)
    cluster.leaders[B] = 2
    if failure is None:
        cluster.silent.add(2)
    else:
        cluster.failures[2] = failure
    began = time.monotonic()
    for number in range(20):
        cluster.write(A, 1)
        assert await polled(fetcher, A) == [number]
    # Each wait is half of the longest at least; the machine may have stood still meanwhile.
    most = 2 + (time.monotonic() - began) / (module.LONGEST_WAIT_S / 2)
    assert sum(leader == 2 for leader, _, _ in cluster.asked) <= most
    cluster.write(B, 1)
    cluster.leaders[B] = 1
    got: list[int] = []
    while not got:
        got += (await gather(fetcher, ALL, 1))[B]
    assert got == [0]


async def test_nobody_waits_for_the_answer_of_a_broker_that_hangs(
    fetcher: AioFetcher, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would never come here."""
    monkeypatch.setattr(module, "ANSWER_S", 3_600)
    cluster.leaders[B] = 2
    cluster.silent.add(2)
    for number in range(5):
        cluster.write(A, 1)
        assert await polled(fetcher, A) == [number]
    assert sum(leader == 2 for leader, _, _ in cluster.asked) == 1


async def test_no_more_is_asked_for_while_much_is_at_hand(
    fetcher: AioFetcher, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded, however small the shares are."""
    monkeypatch.setattr(module, "REQUEST_BYTES", 5_000)
    for place in ALL:
        for _ in range(30):
            cluster.write(place, 1, size=1_000)
    offsets: dict[TopicPartition, list[int]] = {place: [] for place in ALL}
    while sum(map(len, offsets.values())) < 90:
        found = await fetcher.poll(dict.fromkeys(ALL, 1), 5)
        for place, each in found.items():
            offsets[place] += [record.offset for record in each.records]
        for _, wanted, _ in cluster.asked:
            assert wanted
    assert offsets == {place: list(range(30)) for place in ALL}


async def test_a_bug_is_no_silence(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Whoever polls hears of it."""
    cluster.failures[1] = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await gather(fetcher, ALL, 3)


class Clock:
    """Stands still unless it is told."""

    now = 1_000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The fetcher's."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def test_a_broker_that_answers_no_fetch_for_long_is_away(
    fetcher: AioFetcher, cluster: Cluster, clock: Clock
) -> None:
    """It is said once for all its partitions, so that the others go on; and again after as long."""
    cluster.leaders[B] = cluster.leaders[C] = 2
    cluster.silent.add(2)
    said = []
    for number in range(int(5 * SILENCE_S)):
        cluster.write(A, 1)
        clock.now += 0.5
        try:
            await fetcher.poll(ALL, 0.01)
        except BrokerUnavailable as error:
            said.append((number, str(error)))
    assert len(said) == 2
    assert {text for _, text in said} == {"events partition 1 has had no answer for 10 s"}
    assert said[0][0] >= 2 * SILENCE_S


async def test_why_a_partition_is_silent_is_told(fetcher: AioFetcher, cluster: Cluster, clock: Clock) -> None:
    """Where the broker says so."""
    cluster.codes[B] = 56

    async def polled() -> None:
        for _ in range(100):
            clock.now += 0.5
            await fetcher.poll(ALL, 0.01)

    with pytest.raises(BrokerUnavailable, match="partition 1 has had no answer for 10 s: KAFKA_STORAGE_ERROR"):
        await polled()


async def test_a_right_that_lacks_is_told_of_its_partitions_alone(fetcher: AioFetcher, cluster: Cluster) -> None:
    """The others go on, and nobody looks for another leader."""
    cluster.codes[B] = 29
    cluster.write(A, 1)
    found: dict[TopicPartition, Fetched] = {}
    while len(found) < 2:
        found |= {place: each for place, each in (await fetcher.poll(ALL, 5)).items() if each.records or each.trouble}
    assert [record.offset for record in found[A].records] == [0]
    trouble = found[B].trouble
    assert isinstance(trouble, Denied)
    assert trouble.rights == (Right(Operation.READ, Resource.TOPIC, "events"),)
    assert not cluster.refreshes


async def test_a_topic_that_is_hidden_from_the_start_may_not_be_read(fetcher: AioFetcher, cluster: Cluster) -> None:
    """Nobody can say who leads it, so nobody can be asked."""
    cluster.leaders, cluster.hidden = dict.fromkeys(ALL), {"events"}
    trouble = None
    while trouble is None:
        trouble = next((each.trouble for each in (await fetcher.poll(ALL, 5)).values()), None)
    assert isinstance(trouble, Denied)


async def test_an_answer_now_and_then_is_enough(fetcher: AioFetcher, cluster: Cluster, clock: Clock) -> None:
    """A broker may be slow."""
    for number in range(100):
        cluster.silent = set() if number % 10 == 0 else {1}
        clock.now += 0.5
        await fetcher.poll(ALL, 0.01 if cluster.silent else 5)
        for request in [*fetcher._requests.values()]:
            request.cancel()
            await asyncio.wait({request})


async def test_the_time_in_which_nobody_asks_is_no_silence(fetcher: AioFetcher, cluster: Cluster, clock: Clock) -> None:
    """A partition that waits for a registry fetches again after a while."""
    cluster.silent.add(1)
    for _ in range(9):
        clock.now += 60
        await fetcher.poll(ALL, 0.01)


async def test_what_is_at_hand_of_a_partition_that_waits_stops_no_other(
    fetcher: AioFetcher, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: eight that had no room for payloads held so much at hand that no other one was fetched any more."""
    cluster.write(A, 10, size=1_000)
    assert len((await fetcher.poll({A: 1}, 5))[A].records) == 1
    monkeypatch.setattr(module, "REQUEST_BYTES", 5_000)
    cluster.write(B, 1)
    assert [record.offset for record in (await fetcher.poll({B: 1}, 5))[B].records] == [0]
    # What is polled counts: nothing more is asked for while so much is left.
    asked = len(cluster.asked)
    await fetcher.poll({A: 1, C: 1}, 0.01)
    assert len(cluster.asked) == asked
