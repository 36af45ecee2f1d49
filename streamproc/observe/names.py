"""Every metric that the service exports: name, what it says, labels. The one place of metric names."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric as its readers see it. Base units: seconds, records."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()


EVENTS_CONSUMED = Metric("streamproc_events_consumed_total", "Input records in confirmed commits.")
EVENTS_REJECTED = Metric(
    "streamproc_events_rejected_total", "Input records sent to the dead-letter topic.", ("reason",)
)
EVENT_VERDICTS = Metric("streamproc_event_verdicts_total", "What became of the runs' events.", ("verdict",))
COMMIT_DURATION = Metric(
    "streamproc_commit_duration_seconds", "From the fetch of a commit's first records to its confirmation."
)
END_TO_END_LATENCY = Metric(
    "streamproc_end_to_end_latency_seconds",
    "From the Kafka timestamp of a commit's first record to the commit's confirmation.",
)
TRANSACTIONS_FAILED = Metric(
    "streamproc_transactions_failed_total", "Transactions that failed or whose outcome is unknown.", ("cause",)
)
REBALANCES = Metric("streamproc_rebalances_total", "Assignments received from the consumer group.")

CONSUMER_LAG_RECORDS = Metric(
    "streamproc_consumer_lag_records", "Offsets between what was read and the last stable one.", ("partition",)
)
CONSUMER_LAG_SECONDS = Metric(
    "streamproc_consumer_lag_seconds", "Age of the last record read; 0 where nothing is unread.", ("partition",)
)
TASK_STATE = Metric("streamproc_task_state", "Partition tasks in each state.", ("state",))
RESTORE_REMAINING = Metric(
    "streamproc_restore_remaining_records", "State records still to be read by tasks that are restoring, about."
)

RUNS = Metric("streamproc_runs", "Runs remembered by the running tasks, by their latest status.", ("status",))
RUN_TRANSITIONS = Metric("streamproc_run_transitions_total", "Applied changes of status.", ("from", "to"))
RUN_ANOMALIES = Metric("streamproc_run_anomalies_total", "What is odd about events and changes of status.", ("kind",))
RUN_DURATION = Metric("streamproc_run_duration_seconds", "From a run's creation to its end.", ("outcome", "model"))
RUN_QUEUE_WAIT = Metric("streamproc_run_queue_wait_seconds", "From a run's creation to its first start.")
RUN_ACTION_WAIT = Metric("streamproc_run_action_wait_seconds", "How long runs waited for a required action.")
RUN_TOKENS = Metric("streamproc_run_tokens_total", "Tokens used by runs that ended.", ("type", "model"))
RUNS_FORGOTTEN = Metric("streamproc_runs_forgotten_total", "Runs dropped when their retention was over.")

BUILD = Metric("streamproc_build", "The version that is running.")
