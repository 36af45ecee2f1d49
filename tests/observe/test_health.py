"""The probes' answers to what the runtime reports, with a clock that the test sets."""

import json
from datetime import UTC, datetime

import pytest

from streamproc.runtime.diagnosis import Diagnosis, Word
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from tests.observe.reports import measured, report, source
from tests.support.watched import watched_health

CREATED, FENCED, RESTORING, RUNNING = TaskState.CREATED, TaskState.FENCED, TaskState.RESTORING, TaskState.RUNNING
SUSPENDED, CLOSED = TaskState.SUSPENDED, TaskState.CLOSED
LACKS = "the user lacks the right Read on group streamproc. To grant it: kafka-acls.sh ..."


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()


class Bench:
    """A Health with a clock, and what commonly happens to one."""

    def __init__(self, **settings):
        self.now = 1_000.0
        self.health = watched_health(lambda: self.now, wall_clock=lambda: NOON + self.now - 1_000, **settings)

    def pass_time(self, seconds, *, alive=True):
        self.now += seconds
        if alive:
            self.health.progress()

    def assigned(self, *partitions):
        self.health.progress()
        self.health.rebalanced(frozenset(map(source, partitions)))

    def states(self, partition, *states):
        for state in states:
            self.health.task_state(source(partition), state)

    def running(self, *partitions):
        self.assigned(*partitions)
        for partition in partitions:
            self.states(partition, FENCED, RESTORING, RUNNING)

    def ready(self, *partitions):
        self.running(*partitions)
        for partition in partitions:
            self.health.caught_up(source(partition))

    @property
    def probes(self):
        """(livez, readyz, startupz), and the status that all three must name."""
        answers = [probe() for probe in (self.health.livez, self.health.readyz, self.health.startupz)]
        (status,) = {reason["status"] for _, reason in answers}
        assert all(ok is reason["ok"] for ok, reason in answers)
        return tuple(ok for ok, _ in answers), status

    @property
    def reason(self):
        return self.health.readyz()[1]


@pytest.fixture
def bench():
    return Bench()


def just_made(bench):
    """Nothing reported yet."""


def waiting_for_a_broker(bench):
    bench.now += 3_600


def joining(bench):
    bench.pass_time(1)
    bench.health.revoked()


def assigned(bench):
    bench.assigned(0, 1)


def half_restored(bench):
    bench.running(0, 1)
    bench.states(1, SUSPENDED, FENCED, RESTORING)


def restoring_from_the_start(bench):
    bench.assigned(0, 1)
    bench.states(0, FENCED, RESTORING, RUNNING)
    bench.states(1, FENCED, RESTORING)


def behind(bench):
    bench.running(0, 1)
    bench.health.caught_up(source(0))


def caught_up(bench):
    bench.ready(0, 1)


def behind_again(bench):
    bench.ready(0, 1)
    bench.health.lag(source(0), 5_000, 9.0)


def rebuilt(bench):
    bench.ready(0)
    bench.states(0, SUSPENDED, FENCED, RESTORING, RUNNING)


def rebalancing(bench):
    bench.ready(0, 1)
    bench.health.revoked()
    bench.states(0, SUSPENDED)


def taking_over(bench):
    rebalancing(bench)
    bench.assigned(0, 1, 2)


def transactions_failing(bench):
    bench.ready(0, 1)
    bench.health.transaction_failed([source(0)], "ProducerFenced")
    bench.states(0, SUSPENDED)


def fencing_failing_from_the_start(bench):
    bench.assigned(0)
    bench.health.transaction_failed([source(0)], "KafkaConnectionError")
    bench.states(0, SUSPENDED)


def broker_lost(bench):
    """What the commit in hand failed of comes first, the broker that does not answer after it."""
    transactions_failing(bench)
    bench.health.transaction_failed([source(0)], "BrokerUnavailable")
    bench.health.transaction_failed([source(1)], "ProducerFenced")
    bench.states(1, SUSPENDED)


def restoring_after_a_failure(bench):
    transactions_failing(bench)
    bench.states(0, FENCED, RESTORING)


def failed_and_not_yet_committed(bench):
    transactions_failing(bench)
    bench.states(0, FENCED, RESTORING, RUNNING)
    bench.health.caught_up(source(0))


def failed_once(bench):
    failed_and_not_yet_committed(bench)
    bench.health.transacted(1, 0.1)


def denied(bench):
    bench.ready(0, 1)
    bench.health.transaction_failed([source(0)], "GroupAuthorizationFailedError", LACKS)
    bench.states(0, SUSPENDED)


def denied_while_restoring(bench):
    restoring_from_the_start(bench)
    bench.health.transaction_failed([source(1)], "TopicAuthorizationFailedError", LACKS)


def denied_the_group(bench):
    bench.ready(0, 1)
    bench.health.revoked()
    bench.health.denied(LACKS)


def denied_no_longer(bench):
    bench.ready(0, 1)
    bench.health.denied(LACKS)
    bench.health.denied("")


def loop_stalled(bench):
    bench.ready(0)
    bench.pass_time(31, alive=False)


def loop_stalled_in_a_restore(bench):
    bench.assigned(0)
    bench.states(0, FENCED, RESTORING)
    bench.pass_time(31, alive=False)


def loop_slow(bench):
    bench.ready(0)
    bench.pass_time(30, alive=False)


def task_stalled(bench):
    bench.ready(0, 1)
    bench.health.lag(source(0), 7, 1.0)
    bench.pass_time(31)


def lagging_but_committing(bench):
    bench.ready(0)
    bench.health.lag(source(0), 7, 1.0)
    bench.pass_time(20)
    bench.health.committed(report(0))
    bench.health.lag(source(0), 9, 1.0)
    bench.pass_time(20)


def lagging_but_reading(bench):
    bench.ready(0)
    bench.health.lag(source(0), 7, 1.0)
    bench.pass_time(20)
    bench.health.lag(source(0), 6, 1.0)
    bench.pass_time(20)


def first_records_after_a_long_silence(bench):
    bench.ready(0)
    bench.pass_time(3_600)
    bench.health.lag(source(0), 7, 1.0)


def nothing_to_read(bench):
    bench.ready(0)
    bench.pass_time(3_600)


def standby(bench):
    bench.assigned()


def left_without_partitions(bench):
    bench.ready(0, 1)
    bench.health.revoked()
    bench.states(0, SUSPENDED)
    bench.states(1, SUSPENDED)
    bench.assigned()


def paused(bench):
    bench.ready(0, 1)
    bench.health.lag(source(0), 7, 1.0)
    bench.health.paused(source(0), Pause.REGISTRY, "id:7: the registry does not answer")


def paused_for_long(bench):
    """A stall is something else: nobody knows why it does not go on."""
    paused(bench)
    bench.pass_time(3_600)


def gone_on(bench):
    paused_for_long(bench)
    bench.health.resumed(source(0))


def revoked_while_paused(bench):
    paused(bench)
    bench.health.revoked()
    bench.states(0, SUSPENDED)
    bench.states(1, SUSPENDED)
    bench.assigned()


def blocked(bench):
    bench.health.blocked("waiting for the ids of the output schemas: the registry does not answer")


def held_up_no_longer(bench):
    blocked(bench)
    bench.health.blocked("")


NO, YES = False, True
SINCE = "2026-01-01T12:00:00Z"


@pytest.mark.parametrize(
    ("situation", "live", "ready", "started", "status"),
    [
        (just_made, YES, NO, NO, "starting"),
        (waiting_for_a_broker, YES, NO, NO, "starting"),
        (joining, YES, NO, NO, "starting"),
        (assigned, YES, NO, NO, "restoring"),
        (restoring_from_the_start, YES, NO, NO, "restoring"),
        (half_restored, YES, NO, YES, "restoring"),
        (behind, YES, NO, YES, "running"),
        (caught_up, YES, YES, YES, "running"),
        (behind_again, YES, YES, YES, "running"),
        (rebuilt, YES, NO, YES, "running"),
        (rebalancing, YES, NO, YES, "rebalancing"),
        (taking_over, YES, NO, YES, "restoring"),
        (transactions_failing, YES, NO, YES, "fenced"),
        (fencing_failing_from_the_start, YES, NO, NO, "broker_unavailable"),
        (broker_lost, YES, NO, YES, "broker_unavailable"),
        (restoring_after_a_failure, YES, NO, YES, "restoring"),
        (failed_and_not_yet_committed, YES, NO, YES, "fenced"),
        (failed_once, YES, YES, YES, "running"),
        (denied, YES, NO, YES, "denied"),
        (denied_while_restoring, YES, NO, NO, "denied"),
        (denied_the_group, YES, NO, YES, "denied"),
        (denied_no_longer, YES, YES, YES, "running"),
        (loop_stalled, NO, NO, YES, "stalled"),
        (loop_stalled_in_a_restore, NO, NO, NO, "stalled"),
        (loop_slow, YES, YES, YES, "running"),
        (task_stalled, YES, NO, YES, "stalled"),
        (lagging_but_committing, YES, YES, YES, "running"),
        (lagging_but_reading, YES, YES, YES, "running"),
        (first_records_after_a_long_silence, YES, YES, YES, "running"),
        (nothing_to_read, YES, YES, YES, "running"),
        (standby, YES, YES, YES, "idle"),
        (left_without_partitions, YES, YES, YES, "idle"),
        (paused, YES, NO, YES, "paused"),
        (paused_for_long, YES, NO, YES, "paused"),
        (gone_on, YES, YES, YES, "running"),
        (revoked_while_paused, YES, YES, YES, "idle"),
        (blocked, YES, NO, NO, "starting"),
        (held_up_no_longer, YES, NO, NO, "starting"),
    ],
    ids=lambda given: given.__name__ if callable(given) else None,
)
def test_the_probes_in_each_situation(bench, situation, live, ready, started, status):
    situation(bench)
    assert bench.probes == ((live, ready, started), status)


def test_started_stays_started_though_nobody_asked_in_time(bench):
    bench.running(0)
    bench.health.revoked()
    bench.states(0, SUSPENDED, CLOSED)
    bench.assigned(1, 2)
    assert bench.health.startupz()[0]
    assert not bench.health.readyz()[0]


def test_a_rebalance_before_the_first_restore_is_over_is_no_start(bench):
    bench.assigned(0)
    bench.states(0, FENCED, RESTORING)
    bench.health.revoked()
    bench.states(0, RUNNING)
    assert not bench.health.startupz()[0]


def test_what_a_task_did_before_a_rebalance_makes_nothing_ready(bench):
    """It may still be in a commit of the generation before, and has everything in front of it."""
    bench.ready(0)
    bench.health.revoked()
    bench.assigned(0)
    assert bench.probes == ((True, False, True), "restoring")
    bench.states(0, SUSPENDED, FENCED, RESTORING, RUNNING)
    bench.health.caught_up(source(0))
    assert bench.probes == ((True, True, True), "running")


def test_a_loop_that_goes_on_is_alive_again(bench):
    loop_stalled(bench)
    bench.pass_time(0)
    assert bench.health.livez()[0]


@pytest.mark.parametrize(("lag", "ready"), [(None, False), (101, False), (100, True), (0, True)])
def test_with_a_limit_ready_means_that_no_partition_is_further_behind(lag, ready):
    bench = Bench(ready_lag_records=100)
    bench.running(0)
    if lag is not None:
        bench.health.lag(source(0), lag, 1.0)
    assert bench.health.readyz()[0] is ready


def test_the_time_after_which_it_is_stalled_is_a_setting():
    bench = Bench(stall_after_s=5)
    bench.pass_time(0)
    bench.pass_time(6, alive=False)
    assert not bench.health.livez()[0]


@pytest.mark.parametrize(
    "answer",
    [
        lambda health: health.transacted(2, 4.0),
        lambda health: health.rebalanced(frozenset([source(0), source(1)])),
    ],
    ids=["a confirmation", "another assignment"],
)
def test_ready_means_that_it_commits(bench, answer):
    """A broker that is gone shows in the commit in hand, long before that is given up."""
    bench.ready(0, 1)
    bench.health.transacting()
    bench.pass_time(2)
    assert bench.probes == ((YES, YES, YES), "running")
    bench.pass_time(2)
    assert bench.probes == ((YES, NO, YES), "broker_unavailable")
    assert "the transaction in hand has had no answer for 4 s" in bench.reason["message"]
    answer(bench.health)
    bench.ready(0, 1)
    assert bench.probes == ((YES, YES, YES), "running")


def test_the_reason_is_json_with_figures(bench):
    bench.assigned(0, 1, 2)
    bench.states(0, FENCED, RESTORING, RUNNING)
    bench.health.lag(source(0), 40, 2.0)
    bench.states(1, FENCED, RESTORING)
    bench.health.restoring(source(1), 1_234)
    assert json.loads(json.dumps(bench.reason)) == {
        "ok": False,
        "status": "restoring",
        "message": "bringing back the state of run-events partitions 1, 2: about 1234 records to go",
        "tasks": {"created": 1, "fenced": 0, "restoring": 1, "running": 1, "suspended": 0},
        "restore_remaining_records": 1_234,
        "lag_records": 40,
        "causes": {},
    }


def test_the_reason_names_the_cause_of_a_failure_until_it_is_over(bench):
    transactions_failing(bench)
    assert bench.reason["causes"] == {"run-events partition 0": {"reason": "ProducerFenced", "since": SINCE}}
    assert "ProducerFenced" in bench.reason["message"]
    bench.states(0, FENCED, RESTORING, RUNNING)
    assert bench.reason["causes"] == {}


def test_a_broker_that_is_away_is_no_fencing(bench):
    """Rule: to people who know Kafka, fenced means that another producer took over; say what is the matter."""
    broker_lost(bench)
    assert bench.reason["message"] == (
        "Kafka does not answer (BrokerUnavailable): run-events partitions 0, 1 trying again with back-off"
    )


REFUSED = Diagnosis(Word.LOGIN_REFUSED, "kafka:9092 refuses the login of user worker: check the password")


@pytest.mark.parametrize(
    ("situation", "told", "causes"),
    [
        (waiting_for_a_broker, True, set()),
        (rebalancing, True, set()),
        (broker_lost, True, {"LoginRefused", "ProducerFenced"}),
        (transactions_failing, False, {"ProducerFenced"}),
        (caught_up, False, set()),
    ],
    ids=lambda given: given.__name__ if callable(given) else None,
)
def test_why_a_broker_cannot_be_reached_is_told_where_that_may_be_what_is_waited_for(situation, told, causes):
    """Rule: the words are those of the start; a partition that has no answer has that cause, since when it failed."""
    bench = Bench(trouble=lambda: REFUSED)
    situation(bench)
    assert (REFUSED.message in bench.reason["message"]) is told
    assert {cause["reason"] for cause in bench.reason["causes"].values()} == causes


def test_a_broker_that_can_be_reached_again_is_no_cause():
    """Rule: what is told is what holds now; what the failure was by itself stays until the partition runs."""
    found = [REFUSED]
    bench = Bench(trouble=lambda: found[0])
    broker_lost(bench)
    assert "Kafka does not answer (LoginRefused): " in bench.reason["message"]
    found[0] = None
    assert "Kafka does not answer (BrokerUnavailable): " in bench.reason["message"]


def test_a_failure_is_as_old_as_the_first_attempt(bench):
    """Rule: `since` is when the partition stopped, not when it was last tried."""
    transactions_failing(bench)
    bench.pass_time(90)
    bench.health.transaction_failed([source(0)], "BrokerUnavailable")
    assert bench.reason["causes"] == {"run-events partition 0": {"reason": "BrokerUnavailable", "since": SINCE}}


def test_the_reason_names_each_pause_by_its_code_and_since_when(bench):
    """Rule: a script need not read the message; another message of the same pause is no new one."""
    bench.ready(0, 1, 2)
    bench.health.paused(source(0), Pause.REGISTRY, "id:7")
    bench.pass_time(90)
    bench.health.paused(source(0), Pause.REGISTRY, "id:7, id:8")
    bench.health.paused(source(1), Pause.REJECTIONS, "102 of 1010 records")
    assert bench.reason["causes"] == {
        "run-events partition 0": {"reason": "registry", "since": SINCE},
        "run-events partition 1": {"reason": "rejections", "since": "2026-01-01T12:01:30Z"},
    }
    bench.health.paused(source(0), Pause.RATE, "more bad_time")
    assert bench.reason["causes"]["run-events partition 0"] == {"reason": "rate", "since": "2026-01-01T12:01:30Z"}
    bench.health.resumed(source(0))
    assert list(bench.reason["causes"]) == ["run-events partition 1"]


def test_the_cause_goes_with_the_partition(bench):
    transactions_failing(bench)
    bench.assigned(1)
    assert bench.reason["causes"] == {}


def test_the_message_names_only_a_few_of_many_partitions(bench):
    bench.assigned(*range(50))
    assert "run-events partitions 0, 1, 2, 3, 4 and 45 more" in bench.reason["message"]


def test_reports_of_a_task_that_is_gone_are_no_error(bench):
    bench.assigned(0)
    bench.health.lag(source(0), 3, 1.0)
    bench.health.restoring(source(0), 3)
    bench.health.committed(report(0))
    bench.health.caught_up(source(0))
    assert bench.reason["lag_records"] == 0


def test_the_reason_names_what_each_partition_waits_for(bench):
    bench.ready(0, 1, 2, 3)
    for number in (0, 1):
        bench.health.paused(source(number), Pause.REGISTRY, f"id:{number}: the registry does not answer")
    bench.health.paused(source(3), Pause.REJECTIONS, "102 of 1010 records: see `streamproc dlq list`")
    assert bench.reason["message"] == (
        "run-events partitions 0, 1 waiting: id:0: the registry does not answer; "
        "run-events partition 3 waiting: 102 of 1010 records: see `streamproc dlq list`"
    )


def test_each_partition_that_cannot_be_read_says_what_passes_over_it(bench):
    """The command is another one for each; what cannot be read has nothing in common."""
    bench.ready(0, 1, 2)
    for number in (0, 2):
        bench.health.paused(source(number), Pause.UNREADABLE, f"`streamproc offsets skip run-events:{number}:7`")
    assert bench.reason["status"] == "paused"
    assert bench.reason["message"] == (
        "run-events partition 0 waiting: `streamproc offsets skip run-events:0:7`; "
        "run-events partition 2 waiting: `streamproc offsets skip run-events:2:7`"
    )
    assert {cause["reason"] for cause in bench.reason["causes"].values()} == {"unreadable"}


def test_partitions_whose_payloads_have_no_room_are_named_with_what_is_used_up(bench):
    """Others go on; ready it is not, as with every other pause."""
    bench.ready(0, 1, 2)
    for number in (0, 2):
        bench.health.paused(source(number), Pause.STATE_FULL, "state.max_disk_bytes is used up")
    ready, reason = bench.health.readyz()
    assert not ready
    assert bench.health.livez()[0]
    assert reason["status"] == "paused"
    assert reason["message"] == "run-events partitions 0, 2 waiting: state.max_disk_bytes is used up"
    assert {cause["reason"] for cause in reason["causes"].values()} == {"state_full"}


def test_a_partition_without_room_that_commits_is_still_paused(bench):
    """Rule: what it commits meanwhile, retention say, does not say that it reads."""
    bench.ready(0)
    bench.health.paused(source(0), Pause.STATE_FULL, "no room")
    bench.health.committed(report(0))
    assert bench.probes[1] == "paused"


def test_a_pause_whose_reason_changes_is_told_by_the_new_one(bench):
    paused(bench)
    bench.health.paused(source(0), Pause.RATE, "more bad_time than it may be")
    assert bench.reason["message"] == "run-events partition 0 waiting: more bad_time than it may be"


def test_a_pause_ends_with_the_task(bench):
    paused(bench)
    bench.states(0, SUSPENDED, FENCED, RESTORING, RUNNING)
    assert bench.probes[1] == "running"


def test_what_stalls_is_not_hidden_by_what_is_paused_when_that_goes_on(bench):
    paused(bench)
    bench.health.lag(source(1), 7, 1.0)
    bench.pass_time(31)
    bench.health.resumed(source(0))
    assert bench.probes == ((YES, NO, YES), "stalled")
    assert "run-events partition 1" in bench.reason["message"]


def test_what_the_start_waits_for_is_the_reason(bench):
    blocked(bench)
    assert bench.reason["message"] == "waiting for the ids of the output schemas: the registry does not answer"
    held_up_no_longer(bench)
    assert bench.reason["message"] == "waiting for a first assignment from the consumer group"


# Over both stages


@pytest.fixture
def both(bench):
    """One partition of each stage, the fold's ready."""
    bench.health.progress()
    bench.health.rebalanced(frozenset({source(0), measured(0)}))
    bench.states(0, FENCED, RESTORING, RUNNING)
    bench.health.caught_up(source(0))
    return bench


def windows(bench, *states):
    for state in states:
        bench.health.task_state(measured(0), state)


def test_the_service_has_started_when_both_stages_run(both):
    assert both.probes == ((YES, NO, NO), "restoring")
    windows(both, FENCED, RESTORING, RUNNING)
    assert both.probes == ((YES, NO, YES), "running")


def test_the_service_is_ready_when_both_stages_are_caught_up(both):
    windows(both, FENCED, RESTORING, RUNNING)
    both.health.lag(measured(0), 12, 1.0)
    assert both.reason["message"] == "running, but run-measurements partition 0 not caught up yet: 12 records behind"
    both.health.caught_up(measured(0))
    assert both.probes == ((YES, YES, YES), "running")
    ready = "running run-events partition 0 and run-measurements partition 0, all of them ready"
    assert both.reason["message"] == ready


def test_partitions_of_the_same_number_are_told_apart(both):
    windows(both, FENCED, RESTORING, RUNNING)
    both.health.caught_up(measured(0))
    both.health.transaction_failed([measured(0)], "ProducerFenced")
    windows(both, SUSPENDED)
    assert both.probes == ((YES, NO, YES), "fenced")
    assert both.reason["causes"] == {"run-measurements partition 0": {"reason": "ProducerFenced", "since": SINCE}}
    assert "transactions fail on run-measurements partition 0 (ProducerFenced)" in both.reason["message"]


def test_a_window_task_that_no_longer_reads_is_a_stall(both):
    windows(both, FENCED, RESTORING, RUNNING)
    both.health.caught_up(measured(0))
    both.health.lag(measured(0), 7, 1.0)
    both.pass_time(31)
    assert both.probes == ((YES, NO, YES), "stalled")
    assert "run-measurements partition 0" in both.reason["message"]


def test_each_topic_names_a_few_of_its_partitions(bench):
    bench.health.progress()
    bench.health.rebalanced(frozenset([*map(source, range(7)), *map(measured, range(2))]))
    expected = "run-events partitions 0, 1, 2, 3, 4 and 2 more and run-measurements partitions 0, 1"
    assert expected in bench.reason["message"]


def test_what_is_denied_is_told_with_the_remedy(bench):
    """In the message, and in the cause of each partition that waits for it."""
    denied(bench)
    _, answer = bench.health.readyz()
    assert answer["message"].endswith(LACKS)
    assert answer["causes"][str(source(0))]["why"] == LACKS
    bench.ready(0, 1)
    bench.health.paused(source(1), Pause.DENIED, LACKS)
    _, answer = bench.health.readyz()
    assert answer["causes"][str(source(1))]["why"] == LACKS
