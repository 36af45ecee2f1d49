"""The log lines about partitions name the topic as well: two stages have partitions of the same number."""

import json
from collections import Counter

import pytest
from structlog.testing import capture_logs

from streamproc.codec.arrival import Rejection
from streamproc.core.tally import First, Tally
from streamproc.observe.journal import Journal
from streamproc.observe.logs import configure
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from tests.observe.reports import measured, report, source, window_report
from tests.support.runobjects import Arrived


def test_an_assignment_is_told_by_topic():
    with capture_logs() as lines:
        Journal().rebalanced(frozenset({source(2), source(0), measured(1)}))
    assert lines[0]["partitions"] == {"run-events": [0, 2], "run-measurements": [1]}


def test_what_a_task_does_is_told_with_topic_and_partition():
    with capture_logs() as lines:
        Journal().task_state(measured(3), TaskState.RUNNING)
        Journal().transaction_failed([source(4)], "ProducerFenced")
    assert (lines[0]["topic"], lines[0]["partition"]) == ("run-measurements", 3)
    assert lines[1]["partitions"] == {"run-events": [4]}
    assert (lines[0]["state"], lines[1]["cause"], lines[1]["log_level"]) == ("running", "ProducerFenced", "warning")


# Pauses


def pauses(lines):
    return [(line["event"], line["log_level"]) for line in lines]


def test_a_pause_is_told_once_and_so_is_its_end():
    journal = Journal()
    with capture_logs() as lines:
        for number in range(3):
            journal.paused(source(), Pause.REGISTRY, f"id:7: tried {number} times")
        journal.resumed(source())
        journal.resumed(source())
    assert pauses(lines) == [("paused", "warning"), ("resumed", "info")]
    assert (lines[0]["topic"], lines[0]["partition"], lines[0]["reason"]) == ("run-events", 0, "registry")
    assert lines[0]["why"] == "id:7: tried 0 times"


def test_each_reason_and_each_pause_is_told():
    journal = Journal()
    with capture_logs() as lines:
        for why in (Pause.REGISTRY, Pause.RATE):
            journal.paused(source(), why, "")
        journal.paused(measured(), Pause.RATE, "")
        journal.resumed(source())
        journal.paused(source(), Pause.RATE, "")
    assert [line.get("reason") for line in lines] == ["registry", "rate", "rate", None, "rate"]


def test_another_reason_why_payloads_have_no_room_is_told():
    """A disk may be slow first and full then; what is told again and again is one line."""
    journal = Journal()
    with capture_logs() as lines:
        for why in ("payloads come faster than the disk takes them", "disk: full", "disk: full"):
            journal.paused(source(), Pause.STATE_FULL, why)
        journal.resumed(source())
    assert [(line["event"], line.get("why")) for line in lines] == [
        ("paused", "payloads come faster than the disk takes them"),
        ("paused", "disk: full"),
        ("resumed", None),
    ]


@pytest.mark.parametrize("why", [Pause.REJECTIONS, Pause.UNREADABLE])
def test_what_waits_for_somebody_is_an_error_and_told_once_through_all_rebalances(why):
    journal = Journal()
    with capture_logs() as lines:
        for _ in range(3):
            journal.paused(source(), why, "decide")
            journal.task_state(source(), TaskState.SUSPENDED)
            journal.task_state(source(), TaskState.RUNNING)
    assert [pause for pause in pauses(lines) if pause[0] == "paused"] == [("paused", "error")]


def test_another_owner_of_a_partition_tells_of_its_own_stop():
    journal = Journal()
    with capture_logs() as lines:
        journal.paused(source(), Pause.REJECTIONS, "restart")
        journal.task_state(source(), TaskState.CLOSED)
        journal.paused(source(), Pause.REJECTIONS, "restart")
    assert len([line for line in lines if line["event"] == "paused"]) == 2


def test_a_start_that_waits_says_what_for():
    with capture_logs() as lines:
        Journal().blocked("waiting for the ids")
        Journal().blocked("")
    assert [(line["why"], line["log_level"]) for line in lines] == [("waiting for the ids", "warning")]


# Rejections

SECRET = b"\x1b[2Jsecret\n" * 50


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def rejecting(count=1, partition=0, value=SECRET, message="it cannot be read", make=report):
    sample = Rejection(Arrived(41, value), "undecodable", message)
    return make(partition, rejected=Counter(undecodable=count), samples={"undecodable": sample}, records=count)


def rejected(lines):
    return [(line["partition"], line["records"]) for line in lines if line["event"] == "rejected"]


def test_rejections_are_told_with_their_place_and_no_payload():
    with capture_logs() as lines:
        Journal().committed(rejecting(3))
    assert lines == [
        {
            "event": "rejected",
            "log_level": "info",
            "topic": "run-events",
            "partition": 0,
            "reason": "undecodable",
            "records": 3,
            "offset": 41,
            "why": "it cannot be read",
        }
    ]


def test_one_line_a_reason_and_a_partition_in_ten_seconds_says_how_many_there_were():
    clock = Clock()
    journal = Journal(clock=clock)
    with capture_logs() as lines:
        for _ in range(101):
            journal.committed(rejecting(2))
            clock.now += 0.099
        clock.now = 10.0
        journal.committed(rejecting(partition=1))
        journal.committed(rejecting(2))
    assert rejected(lines) == [(0, 2), (1, 1), (0, 202)]


def test_what_was_not_told_yet_is_told_with_a_later_commit_though_it_rejects_nothing():
    clock = Clock()
    journal = Journal(clock=clock)
    with capture_logs() as lines:
        journal.committed(rejecting(2))
        journal.committed(rejecting(5))
        clock.now += 10
        journal.committed(report(1))
        journal.committed(report())
        journal.committed(report())
    assert rejected(lines) == [(0, 2), (0, 5)]


@pytest.mark.parametrize(
    "end",
    [
        lambda journal: journal.paused(source(), Pause.REJECTIONS, "restart"),
        lambda journal: journal.task_state(source(), TaskState.CLOSED),
    ],
    ids=["a stop", "another owner"],
)
def test_what_was_not_told_yet_is_told_where_no_commit_may_follow(end):
    journal = Journal(clock=Clock())
    with capture_logs() as lines:
        journal.committed(rejecting(2))
        journal.committed(rejecting(5))
        end(journal)
        end(journal)
    assert rejected(lines) == [(0, 2), (0, 5)]


def test_rejections_of_the_windows_are_told_too():
    with capture_logs() as lines:
        Journal().committed(rejecting(make=window_report))
    assert lines[0]["topic"] == "run-measurements"


def test_a_payload_is_shown_where_it_is_asked_for_as_hex_and_not_all_of_it():
    with capture_logs() as lines:
        Journal(payloads=True).committed(rejecting())
        Journal(payloads=True).committed(rejecting(value=None))
    assert lines[0]["payload"] == SECRET[:256].hex()
    assert "payload" not in lines[1]


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_line_is_forged_by_what_was_rejected_or_said(capsys, fmt):
    configure("info", fmt)
    journal = Journal(payloads=True)
    journal.committed(rejecting(message="bad\n2026-01-01 forged\x1b[2J\u202e"))
    journal.paused(source(), Pause.REGISTRY, "id:7: it says\r\nforged\x1b[2J")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() or fmt == "console" for line in lines)
    assert "\x1b[2J" not in "".join(lines)
    assert "\u202e" not in "".join(lines)
    assert "secret" not in "".join(lines)
    if fmt == "json":
        assert json.loads(lines[0])["why"].startswith("bad\\n")


# Odd events


def odd(journal, *firsts):
    with capture_logs() as lines:
        for kind, detail, run, offset in firsts:
            journal.committed(report(2, Tally(firsts={(kind, detail): First(run, offset)})))
    return lines


def test_the_first_event_without_a_key_is_told_with_its_place_and_what_to_do():
    [line] = odd(Journal(), ("key_absent", "", "run_1", 7), ("key_absent", "", "run_2", 9))
    assert (line["log_level"], line["kind"], line["run"]) == ("warning", "key_absent", "run_1")
    assert (line["topic"], line["partition"], line["offset"]) == ("run-events", 2, 7)
    assert "key events by their run or thread" in line["advice"]


def test_a_run_on_two_partitions_is_told_with_the_other_one():
    [line] = odd(Journal(), ("two_partitions", "3", "run_1", 7), ("two_partitions", "1", "run_2", 8))
    assert (line["run"], line["partition"], line["also_on"]) == ("run_1", 2, 3)


def test_each_unknown_status_is_told_once_with_what_was_probably_meant():
    journal = Journal(statuses=("in_progress", "completed", "cancelled"))
    said = ["Completed", "in-progress", "canceled", "Completed", "zzz", "x\x1b[31m"]
    lines = odd(journal, *(("unknown_status", status, "run_1", 1) for status in said))
    assert [(line["status"], line.get("did_you_mean")) for line in lines] == [
        ("Completed", "completed"),
        ("in-progress", "in_progress"),
        ("canceled", "cancelled"),
        ("zzz", None),
        (r"x\x1b[31m", None),
    ]
    for setting in ("STREAMPROC_INPUT__STATUSES", "STREAMPROC_INPUT__UNKNOWN_STATUSES=reject"):
        assert all(setting in line["advice"] for line in lines)


def test_what_producers_make_up_fills_neither_log_nor_memory():
    journal = Journal()
    lines = odd(journal, *(("unknown_status", f"status {number}", "run_1", number) for number in range(300)))
    assert len(lines) == 100
    assert len(odd(journal, ("key_absent", "", "run_1", 1))) == 1, "what else is odd is still told"


def test_what_is_only_counted_is_not_told():
    assert odd(Journal(), ("stale", "", "run_1", 7)) == []
