"""Who may be in the consumer group beside whom: on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import InconsistentGroupProtocolError, NodeNotReadyError
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest

from streamproc.errors import ConfigError
from streamproc.runtime.aio import membership as standing
from streamproc.runtime.aio.assignor import paired
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.group import AioGroup
from streamproc.runtime.aio.membership import Membership
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Member, NewTopic, TopicPartition
from tests.support.waiting import eventually

NAME_BEFORE = "streamproc-paired"


class Listener:
    """Takes down what the group says."""

    def __init__(self) -> None:
        self.member: Member | None = None
        self.joins = 0

    def revoked(self) -> None:
        """Nothing is ours."""
        self.member = None

    def assigned(self, _sources: frozenset[TopicPartition], member: Member) -> None:
        """These are ours."""
        self.member = member
        self.joins += 1


class Cluster:
    """A topic, and members of one group on it."""

    def __init__(self, bootstrap: str, unique: Callable[[str], str]) -> None:
        self.bootstrap, self.topic, self.name = bootstrap, unique("group"), unique("group")
        self.groups: list[AioGroup] = []

    async def member(self, **settings: Any) -> tuple[AioGroup, Listener]:
        """Return a membership that has been asked for."""
        given = KafkaSettings(bootstrap_servers=self.bootstrap, session_timeout_ms=10_000, **settings)
        group, listener = AioKafka(given, self.name).group([self.topic]), Listener()
        self.groups.append(group)
        await group.join(listener)
        return group, listener

    def before(self) -> AIOKafkaConsumer:
        """Return a member as the release before had it."""
        assignor = type("Before", (paired(self.topic),), {"name": NAME_BEFORE})
        return AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.bootstrap,
            group_id=self.name,
            partition_assignment_strategy=(assignor,),
            enable_auto_commit=False,
        )


@pytest.fixture
async def cluster(kafka_bootstrap: str, unique: Callable[[str], str]) -> AsyncIterator[Cluster]:
    """Whose members leave at the end."""
    cluster = Cluster(kafka_bootstrap, unique)
    kafka = AioKafka(KafkaSettings(bootstrap_servers=kafka_bootstrap), cluster.name)
    await kafka.create([NewTopic(cluster.topic, 2, {})])
    yield cluster
    for group in cluster.groups:
        await group.leave()
    await kafka.close()


async def refusal(group: AioGroup) -> ConfigError:
    """Poll until that is refused."""
    found: list[ConfigError] = []

    async def is_refused() -> bool:
        try:
            await group.poll()
        except ConfigError as error:
            found.append(error)
        return bool(found)

    await eventually(is_refused)
    return found[0]


async def test_a_worker_of_the_release_before_keeps_this_one_out(cluster: Cluster) -> None:
    """Each would fence the other's transactions without end. It ends, and the old one goes on."""
    old = cluster.before()
    await old.start()
    group, listener = await cluster.member()
    said = await refusal(group)
    assert f"a worker of another release is in the group {cluster.name}, and the two cannot share it" in str(said)
    assert "kafka.session_timeout_ms" in str(said)
    assert listener.joins == 0
    assert len(old.assignment()) == 2
    await old.stop()


async def test_this_release_keeps_workers_of_the_one_before_out(cluster: Cluster) -> None:
    """By a name of its own for how partitions are dealt out."""
    group, listener = await cluster.member()
    await eventually(lambda: listener.member is not None)
    old = cluster.before()
    with pytest.raises(InconsistentGroupProtocolError):
        await old.start()
    await old.stop()
    assert await group.confirmed()
    assert listener.joins == 1


async def test_of_two_processes_with_one_instance_id_the_newcomer_ends(cluster: Cluster) -> None:
    """It says whose id it has; the incumbent goes on in a moment, and neither takes it from the other for ever."""
    incumbent, first = await cluster.member(group_instance_id="one")
    await eventually(lambda: first.member is not None)
    incumbent._standing._since -= 60  # type: ignore[union-attr,operator]
    newcomer, second = await cluster.member(group_instance_id="one")
    await eventually(lambda: second.member is not None)
    said = await refusal(newcomer)  # It joins again at first: its predecessor may have fenced it.
    assert f"another process uses the group instance id one in the group {cluster.name}" in str(said)
    await eventually(incumbent.confirmed)
    assert second.joins > 1
    assert first.member.instance_id == "one"  # type: ignore[union-attr]
    joins = first.joins
    await newcomer.leave()
    assert await incumbent.confirmed()
    assert first.joins == joins


@pytest.mark.parametrize(
    ("member_s", "silent_s", "goes_on"),
    [(None, 0, False), (5, 1, False), (60, 1, True), (60, 30, False), (60, 10, True)],
    ids=["never one", "newcomer", "incumbent", "slept", "just in time"],
)
async def test_who_slept_through_its_session_is_no_incumbent(
    member_s: float | None, silent_s: float, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody was started in its stead, and has been a member for long by now: one that wakes up ends."""
    monkeypatch.setattr(standing, "time", SimpleNamespace(time=lambda: 1_000.0))
    consumer: Any = SimpleNamespace(_coordinator=SimpleNamespace(_send_req=None, member_id="m"))
    at: Any = Membership(consumer, None, KafkaSettings(session_timeout_ms=10_000, group_instance_id="one"), "group")
    at._since = None if member_s is None else 1_000.0 - member_s
    at._acknowledged = 1_000.0 - silent_s
    at._lost = 0
    response = at._heard("join", SimpleNamespace(error_code=82), "m")
    assert (at.refused is None, response.error_code) == (goes_on, 25)


def answered(*answers: int | Exception) -> Any:
    """Return a membership whose requests are answered so, in turn."""
    left = [*answers]

    async def ask(_: object) -> SimpleNamespace:
        following = left.pop(0)
        if isinstance(following, Exception):
            raise following
        return SimpleNamespace(error_code=following)

    coordinator = SimpleNamespace(_send_req=ask, member_id="m0", generation=1)
    consumer: Any = SimpleNamespace(_coordinator=coordinator)
    at: Any = Membership(consumer, None, KafkaSettings(session_timeout_ms=10_000, group_instance_id="one"), "group")
    at._beat = lambda: ask(None)
    return at


async def asked(at: Any, member_id: str, request: object = "join") -> None:
    """Have a member send a request."""
    at._coordinator.member_id = member_id
    with suppress(NodeNotReadyError):
        await at._asked(request)


def settled(at: Any) -> None:
    """Let so much time pass since the last fence that a further one does not count as the same."""
    at._fenced_at -= standing.SETTLES_S + 1


@pytest.mark.parametrize("answer", [15, 16, NodeNotReadyError("away")], ids=["none", "moved", "no connection"])
async def test_a_member_whose_coordinator_was_away_may_be_fenced_by_itself_and_joins_once_more(answer: Any) -> None:
    """A join whose answer got lost was carried out all the same; a process that has the id now fences us again."""
    at = answered(answer, 82, 82)
    at._lost = 0
    await asked(at, "m0")
    await asked(at, "m0")
    assert at.refused is None
    settled(at)
    await asked(at, "m1")
    assert at.refused is not None


async def test_a_process_may_be_fenced_once_by_the_one_before_it() -> None:
    """Whose last join may be carried out after ours: a coordinator that comes back has both in its queue."""
    at = answered(0, 82, 82)
    await asked(at, "m0", HeartbeatRequest("group", 1, "m0"))
    await asked(at, "m0")
    assert at.refused is None
    settled(at)
    await asked(at, "m1")
    assert at.refused is not None


async def test_a_coordinator_that_has_just_come_back_may_fence_several_times_at_once() -> None:
    """It may know older members than the one before it (seen: two fences within 0.3 s, and no other process)."""
    at = answered(82, 82, 82, 82)
    for number in range(3):
        await asked(at, f"m{number}")
        assert at.refused is None
    settled(at)
    await asked(at, "late")
    assert at.refused is not None


async def test_each_lost_answer_may_fence_once_but_not_for_ever() -> None:
    at = answered(*[15] * 9, *[82] * (standing.MAX_LOST + 1))
    for _ in range(9):
        await asked(at, "m0")
    for number in range(standing.MAX_LOST):
        await asked(at, f"m{number}")
        assert at.refused is None
        settled(at)
    await asked(at, "late")
    assert at.refused is not None


async def test_what_was_lost_in_an_earlier_session_fences_nobody() -> None:
    at = answered(15, 0, 82)
    await asked(at, "m0")
    at._lost_at -= 11
    await asked(at, "m0", HeartbeatRequest("group", 1, "m0"))
    await asked(at, "m0")
    assert at.refused is not None


@pytest.mark.parametrize("code", [14, 7], ids=["loading", "timed out"])
async def test_a_coordinator_that_is_busy_is_looked_for_again(code: int) -> None:
    """At a heartbeat or a sync aiokafka would end the consumer for it (seen after all brokers had been away)."""
    at = answered(code, code, code)
    assert (await at._asked("sync")).error_code == 16
    assert (await at._asked(HeartbeatRequest("group", 1, "m0"))).error_code == 16
    assert (await at._asked(JoinGroupRequest("group", 1, 1, "", "one", "consumer", []))).error_code == code


async def test_an_answer_without_an_error_of_its_own_is_passed_on() -> None:
    """As old brokers answer about offsets: their errors are by partition."""

    async def ask(_: object) -> SimpleNamespace:
        return SimpleNamespace(topics=[])

    consumer: Any = SimpleNamespace(_coordinator=SimpleNamespace(_send_req=ask, member_id="m0"))
    at: Any = Membership(consumer, None, KafkaSettings(), "group")
    assert (await at._asked("offsets")).topics == []


async def test_two_answers_that_fence_the_same_member_are_one_fence() -> None:
    """A heartbeat and a join may be under way together."""
    at = answered(15, 82, 82)
    for _ in range(3):
        await asked(at, "m0")
    assert at.refused is None


async def test_a_restart_takes_the_place_of_the_process_before_at_once(cluster: Cluster) -> None:
    """That is what an instance id is for."""
    before, first = await cluster.member(group_instance_id="one")
    await eventually(lambda: first.member is not None)
    await before.leave()
    after, second = await cluster.member(group_instance_id="one")
    await eventually(after.confirmed)
    assert second.member is not None


async def test_a_silent_coordinator_is_given_up_soon(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen rather than gone: the group looks for another one."""
    group, listener = await cluster.member()
    await eventually(lambda: listener.member is not None)
    at: Any = group._standing

    async def silent(_request: Any) -> Any:
        await asyncio.sleep(3_600)

    with monkeypatch.context() as patch:
        patch.setattr(standing, "ACKNOWLEDGED_S", 0.05)
        patch.setattr(at, "_ask", silent)
        assert not await group.confirmed()
    await eventually(group.confirmed)


async def test_whoever_has_not_joined_is_not_confirmed() -> None:
    """There is nothing to be sent."""
    group = AioGroup(KafkaSettings(), "group", ["t"])
    assert (await group.confirmed(), group.partitions("t")) == (False, None)
    group._standing = SimpleNamespace(refused=None)  # type: ignore[assignment]
    await group.leave()
