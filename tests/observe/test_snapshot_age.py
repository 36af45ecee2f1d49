"""Of which moment a partition's snapshot is: a timestamp, so that its age is right whenever somebody asks."""

from streamproc.core.profiles import ASSISTANTS
from streamproc.core.windowstate import WindowRules, WindowState
from streamproc.runtime.config import StateSettings
from streamproc.runtime.taskstates import TaskState
from tests.observe.reading import label_values, value
from tests.observe.reports import measured, source
from tests.support.events import START_MS, new_state
from tests.support.watched import watched_metrics

NAME = "state_snapshot_timestamp_seconds"


def windows(stream_time):
    return WindowState(WindowRules(stream="run-events", sources=1), stream_time)


def running(metrics, task, held):
    metrics.task_state(task, TaskState.RUNNING)
    metrics.running(task, held)


def test_each_running_task_of_the_first_stage_says_of_when_its_snapshot_is():
    """Rule: 0 before the first one; the windows have none."""
    metrics = watched_metrics(ASSISTANTS, state=StateSettings(directory="/state"))
    states = new_state(), new_state()
    for number, state in enumerate(states):
        running(metrics, source(number), state)
    running(metrics, measured(1), windows(START_MS))
    states[1].snapshot_ms = START_MS + 500
    running(metrics, source(1), states[1])
    assert value(metrics, "window_watermark_timestamp_seconds", partition="1") == START_MS / 1000
    assert value(metrics, NAME, partition="0") == 0
    assert value(metrics, NAME, partition="1") == START_MS / 1000 + 0.5
    metrics.task_state(source(1), TaskState.SUSPENDED)
    assert label_values(metrics, NAME, "partition") == {"0"}


def test_where_no_snapshots_are_taken_there_is_nothing_to_grow_old():
    metrics = watched_metrics(ASSISTANTS)
    running(metrics, source(), new_state())
    assert label_values(metrics, NAME, "partition") == set()
