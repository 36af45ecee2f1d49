"""The log lines about partitions name the topic as well: two stages have partitions of the same number."""

from structlog.testing import capture_logs

from streamproc.observe.journal import Journal
from streamproc.runtime.observer import TaskState
from tests.observe.reports import measured, source


def test_an_assignment_is_told_by_topic():
    with capture_logs() as lines:
        Journal().rebalanced(frozenset({source(2), source(0), measured(1)}))
    assert lines[0]["partitions"] == {"run-events": [0, 2], "run-measurements": [1]}


def test_what_a_task_does_is_told_with_topic_and_partition():
    with capture_logs() as lines:
        Journal().task_state(measured(3), TaskState.RUNNING)
        Journal().transaction_failed(source(4), "ProducerFenced")
    assert [(line["topic"], line["partition"]) for line in lines] == [("run-measurements", 3), ("run-events", 4)]
    assert (lines[0]["state"], lines[1]["cause"], lines[1]["log_level"]) == ("running", "ProducerFenced", "warning")
