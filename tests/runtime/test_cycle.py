"""One transaction for all partitions of a worker: what it holds, what is left out of it, and when it comes."""

import asyncio

from streamproc.errors import BrokerUnavailable, TaskInvalid
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import Committed, Member, OutputRefused, TopicPartition, Transactions
from streamproc.runtime.refusals import Refusals
from streamproc.runtime.taskstates import TaskState
from tests.support.application import application, once
from tests.support.fake_kafka import Entry, FakeKafka
from tests.support.waiting import eventually


def held(monkeypatch, it, partition=1):
    """Hold the restores of a partition until the event is set; return it, and the restores that have come so far."""
    gate, bounds, restores = asyncio.Event(), it.kafka.bounds, []

    async def slow(topic, number):
        if (topic, number) == (it.topics.state, partition):
            restores.append(number)
            await gate.wait()
        return await bounds(topic, number)

    monkeypatch.setattr(it.kafka, "bounds", slow)
    return gate, restores


async def test_what_has_come_for_all_partitions_is_one_transaction():
    """States, offsets and positions of all, and of both stages."""
    it = await application(partitions=4)
    sources = {it.source(number) for number in range(4)}
    async with it.working():
        await it.all_run()
        for number in range(4):
            it.send("queued", f"run_{number}", partition=number)
        await it.drained()
        await it.summed()
    assert [len(it.output("transitions", number)) for number in range(4)] == [1] * 4
    with_events = [each for each in it.kafka.commits if any(each[source].offset for source in sources & each.keys())]
    assert sources <= with_events[0].keys()
    assert [with_events[0][source].offset for source in sources] == [1] * 4
    assert it.kafka.epochs.keys() == {it.source(n) for n in range(4)} | {it.measured(n) for n in range(4)}


async def test_the_lowest_id_is_the_workers_own_and_all_others_are_fenced():
    """rules.md 3 and 7: whoever takes over ends what an earlier owner left open, whatever its id was."""
    it = await application(partitions=3)
    other = it.kafka.transactions(it.source(2))
    await other.fence()
    entry = it.kafka.logs[it.topics.state][2].append((b"run", b"never", 0, ()), "open")
    it.kafka.open[it.source(2)].append((it.kafka.logs[it.topics.state][2], entry))
    it.kafka.pending[it.source(2)] = {it.source(2): Committed(7, "")}
    it.send("queued", partition=2)
    async with it.working():
        await it.drained()
    assert entry.status == "aborted"
    assert it.metadata(2)["sequence"] == 1


async def test_an_output_that_takes_nothing_is_isolated_within_two_tries():
    """rules.md 25: only who writes to it waits, and says why; the others go on. It goes on by itself."""
    it = await application(partitions=3)
    refusing = TopicPartition(it.topics.state, 1)
    it.kafka.refusing = [refusing]
    for number in range(3):
        it.send("queued", f"run_{number}", partition=number)
    async with it.working():
        await eventually(lambda: all(it.kafka.offsets.get(it.source(n)) for n in (0, 2)))
        await eventually(lambda: it.source(1) in it.told.pauses)
        why, message = it.told.pauses[it.source(1)]
        assert why is Pause.OUTPUT
        assert "run-state partition 1 takes no records: NOT_ENOUGH_REPLICAS" in message
        it.send("in_progress", "run_0", partition=0)
        await eventually(lambda: it.kafka.offsets[it.source(0)].offset == 2)
        assert it.source(1) not in it.kafka.offsets
        assert set(it.told.pauses) == {it.source(1)}
        it.kafka.refusing = []
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert [it.ids("transitions", number) for number in range(3)] == [
        ["run-events:0:0", "run-events:0:1"],
        ["run-events:1:0"],
        ["run-events:2:0"],
    ]


async def test_a_measurement_partition_that_takes_nothing_holds_all_that_measure():
    """Nobody can tell who would not have written to it; nothing is lost."""
    it = await application(partitions=2)
    it.kafka.refusing = [TopicPartition(it.topics.measurements, 1)]
    it.send("queued", "run_0", partition=0)
    it.send("queued", "run_1", partition=1)
    async with it.working():
        await eventually(lambda: {it.source(0), it.source(1)} <= it.told.pauses.keys())
        it.kafka.refusing = []
        await it.summed()
        await eventually(lambda: not it.told.pauses)
    assert [len(it.output("transitions", number)) for number in range(2)] == [1, 1]


async def test_sources_that_meet_a_refusal_one_after_another_stay_paused_together(monkeypatch):
    """Each that is restored later meets it once. If they took turns, each turn would spend one more id."""
    it = await application(partitions=2)
    it.kafka.refusing = [TopicPartition(it.topics.measurements, 1)]
    gate, _ = held(monkeypatch, it)
    it.send("queued", "run_0", partition=0)
    it.send("queued", "run_1", partition=1)
    async with it.working():
        await eventually(lambda: set(it.told.pauses) == {it.source(0)})
        gate.set()
        await eventually(lambda: set(it.told.pauses) == {it.source(0), it.source(1)})
        fetches = it.kafka.fetches[it.topics.measurements]
        await eventually(lambda: it.kafka.fetches[it.topics.measurements] > fetches + 20)
        assert it.told.failures == ["OutputRefused", "OutputRefused"]
        it.kafka.refusing = []
        await it.summed()
        await eventually(lambda: not it.told.pauses)
    assert [len(it.output("transitions", number)) for number in range(2)] == [1, 1]


async def test_offsets_that_an_open_transaction_may_change_are_waited_for(monkeypatch):
    """Hazard: a killed worker's offsets are unstable; only its partition waits for them."""
    it = await application(partitions=2)
    it.send("queued", "run_0", partition=0)
    it.send("queued", "run_1", partition=1)
    foreign = TopicPartition("somebody", 0)
    it.kafka.pending[foreign] = {it.source(1): Committed(5, "")}
    async with it.working():
        await eventually(lambda: it.source(0) in it.kafka.offsets)
        assert (1, TaskState.RESTORING) not in it.told.states
        assert it.source(1) not in it.kafka.offsets
        it.kafka.end(foreign, "aborted")
        await it.drained()
    assert it.ids("transitions", 1) == ["run-events:1:0"]


async def test_a_restore_waits_for_an_open_transaction_on_its_topic():
    """Hazard: offsets may be stable while a zombie's transaction hides what was committed behind it."""
    it = await application()
    it.send("queued")
    async with it.working():
        await it.drained()
    log = it.kafka.logs[it.topics.state][0]
    behind = log.entries.pop(0)
    log.entries.insert(0, Entry(0, b"zombie", b"never", 0, (), "open"))
    log.entries.insert(1, Entry(1, behind.key, behind.value, behind.timestamp, behind.headers, "committed"))
    log.entries[2].offset = 2
    it.send("in_progress")
    async with it.working():
        await eventually(lambda: (0, TaskState.RESTORING) in it.told.states[4:])
        assert len(it.output("transitions")) == 1
        log.entries[0].status = "aborted"
        await it.drained()
    assert it.ids("transitions") == ["run-events:0:0", "run-events:0:1"]


async def test_a_long_restore_does_not_stop_the_running_ones(monkeypatch):
    """Nor do their failures stop it."""
    it = await application(partitions=2)
    it.send("queued", "run_0", partition=0)
    it.send("queued", "run_1", partition=1)
    async with it.working():
        await it.drained()
    gate, restores = held(monkeypatch, it)
    it.send("in_progress", "run_0", partition=0)
    it.send("in_progress", "run_1", partition=1)
    async with it.working():
        await eventually(lambda: it.kafka.offsets[it.source(0)].offset == 2)
        it.kafka.fault = once("send", TaskInvalid("no answer"))
        it.send("completed", "run_0", partition=0)
        await eventually(lambda: it.kafka.offsets[it.source(0)].offset == 3)
        assert it.kafka.offsets[it.source(1)].offset == 1
        gate.set()
        await it.drained()
    assert restores == [1], "the failure of the others' transaction did not start it again"
    assert len(it.told.failures) == 1


async def test_a_commit_of_an_earlier_generation_is_refused_and_done_again():
    """KIP-447: a worker that slept through a rebalance doubles nothing."""
    it = await application(partitions=2)
    asleep: list[int] = []

    def rebalance_unheard(point):
        if point == "send" and not asleep:
            asleep.append(it.kafka.generation)
            it.kafka.generation += 1

    it.send("queued")
    it.kafka.fault = rebalance_unheard
    async with it.working():
        await eventually(lambda: bool(it.told.failures))
        assert it.source() not in it.kafka.offsets
        it.kafka.rebalance()
        await it.drained()
    assert it.ids("transitions") == ["run-events:0:0"]
    assert not it.kafka.acknowledges(Member(asleep[0], "member"))


async def test_an_event_on_a_quiet_stream_is_committed_at_once_and_the_next_fetch_waits():
    """commit.interval_ms counts from what came: requests have a ceiling, whatever the rate."""
    it = await application()
    it.interval_ms = 10_000
    async with it.working():
        await eventually(lambda: it.source() in it.told.were_caught_up)
        it.send("queued")
        await it.drained()
        fetches = it.kafka.fetches[it.topics.events]
        it.send("in_progress")
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert it.kafka.fetches[it.topics.events] == fetches
        assert it.kafka.offsets[it.source()].offset == 1


async def test_a_backlog_waits_for_nothing_but_the_commit_in_hand():
    """However long commit.interval_ms is."""
    it = await application(partitions=2, max_records=20)
    it.interval_ms = 10_000
    for number in range(200):
        it.send("queued", f"run_{number}", partition=number % 2)
    async with it.working():
        await it.drained()
    assert it.told.records == 200
    assert max(report.records for report in it.told.reports) <= 20


async def test_no_partition_is_left_behind_where_one_has_more_than_a_commit_holds():
    """What is had in one go is shared among those that have something."""
    it = await application(partitions=3, max_records=30)
    commits = []

    class Noted(dict):
        def update(self, offsets):
            super().update(offsets)
            commits.append({source: committed.offset for source, committed in self.items()})

    it.kafka.offsets = Noted(it.kafka.offsets)
    async with it.working():
        await it.all_run()
        for number in range(300):
            it.send("queued", f"run_{number}", partition=0)
        for number in (1, 2):
            it.send("queued", f"other_{number}", partition=number)
        await it.drained()
    first = next(each for each in commits if all(each.get(it.source(n)) for n in (1, 2)))
    assert first[it.source(0)] < 300


async def test_a_broker_that_says_nothing_of_one_topic_holds_up_the_other_not():
    """Its partitions are neither idle nor caught up."""
    it = await application(partitions=2)
    it.kafka.silent = {it.topics.measurements}
    it.send("queued")
    async with it.working():
        await it.drained()
        assert it.measured() not in it.told.were_caught_up
        it.kafka.silent = set()
        await it.summed()


async def test_a_fetch_that_fails_is_done_again_from_the_last_commit():
    it = await application(partitions=2)
    it.send("queued")
    async with it.working():
        await it.all_run()
        await it.drained()
        it.kafka.fault = once("fetch", BrokerUnavailable("away"))
        it.send("in_progress")
        await it.drained()
    assert it.kafka.restored == [0, 1]
    assert it.ids("transitions") == ["run-events:0:0", "run-events:0:1"]


async def test_twenty_rebalances_in_mid_commit_lose_and_double_nothing():
    """Each while a transaction is on its way: it is confirmed or refused, and nobody waits for the other."""
    it = await application(partitions=4)
    left = [20]
    sent = 0

    def rebalance_now_and_then(point):
        if point == "before the end" and left[0] > 0 and len(it.kafka.commits) % 2 == 0:
            left[0] -= 1
            it.kafka.rebalance()

    it.kafka.fault = rebalance_now_and_then
    async with it.working(), it.working():
        while left[0] > 0:
            for number in range(4):
                it.send("queued", f"run_{sent}", partition=number)
                sent += 1
            await eventually(it.is_drained)
    told = [key for number in range(4) for key in it.ids("transitions", number)]
    assert len(told) == len(set(told)) == sent


async def test_an_id_that_was_slow_to_end_is_fenced_at_the_next_attempt():
    """rules.md 7: an operator may use it as soon as it has ended, and must see our commit, or be refused."""
    it = await application(partitions=2)
    slow, place = it.source(1), it.measured(1)
    it.kafka.refusing, it.kafka.ending[slow] = [place], {place}
    async with it.working():
        await eventually(lambda: it.kafka.epochs.keys() == {it.source(0), it.measured(0), it.measured(1)})
        it.kafka.refusing = []
        it.kafka.fault = once("send", TaskInvalid("the transaction is lost"))
        it.send("queued")
        await it.drained()
        assert it.kafka.epochs[slow] == 1


async def test_a_rebalance_is_taken_up_while_no_id_is_free(monkeypatch):
    """Each that does not end takes seconds: not all of them are tried in an assignment that is over."""
    it = await application(partitions=10)
    place = it.measured(9)
    it.kafka.refusing = [place]
    ids = [each for number in range(10) for each in (it.source(number), it.measured(number))]
    it.kafka.ending.update({each: {place} for each in ids})
    tried: list[TopicPartition] = []
    make = it.kafka.transactions

    def rebalanced(source: TopicPartition) -> Transactions:
        tried.append(source)
        if len(tried) == 2:
            it.kafka.rebalance()
        return make(source)

    monkeypatch.setattr(it.kafka, "transactions", rebalanced)
    async with it.working():
        await eventually(lambda: len(tried) > 2)
        assert tried[:3] == [it.source(0), it.source(1), it.source(0)]
        it.kafka.refusing = []


async def test_the_check_of_a_refusal_does_not_fence_the_worker_itself():
    """Where every id was spent, the first that is free again is the worker's own: its transaction has ended."""
    it = await application()
    spent = TopicPartition(it.topics.state, 0)
    it.kafka.refusing, it.kafka.ending[it.measured()] = [spent], {spent}
    async with it.working():
        it.send("queued")
        await eventually(lambda: "StillEnding" in it.told.failures)
        it.kafka.refusing = []
        await it.drained()
        await eventually(lambda: it.told.pauses == {})
    assert "TaskInvalid" not in it.told.failures


async def test_each_refusal_is_asked_for_in_its_own_time(monkeypatch):
    """The answer about one says nothing of the others: they would be put off again and again."""
    monkeypatch.setattr("streamproc.runtime.granting.FIRST_WAIT_S", 60.0)
    monkeypatch.setattr("streamproc.runtime.granting.LONGEST_WAIT_S", 60.0)
    kafka, ending = FakeKafka(), set[TopicPartition]()
    refusals = Refusals(kafka, ending, asyncio.Event())
    places = [TopicPartition("state", number) for number in range(2)]
    for place in places:
        source = TopicPartition("events", place.partition)
        kafka.refusing, kafka.ending[source] = places, {place}
        refusals.add(OutputRefused(place, "NOT_ENOUGH_REPLICAS", frozenset([place])), {place: [source]}, source)
    first, second = (refusals._places[place] for place in places)
    later, first.again_at = second.again_at, 0.0
    assert refusals.release() == ()
    await eventually(lambda: refusals._asking is not None and refusals._asking.done())
    assert refusals.release() == set()
    assert first.again_at > 0
    assert second.again_at == later
    kafka.refusing, first.again_at = [], 0.0
    refusals.release()
    await eventually(lambda: refusals._asking is not None and refusals._asking.done())
    assert refusals.release() == {TopicPartition("events", 0)}
    assert ending == {TopicPartition("events", 1)}
