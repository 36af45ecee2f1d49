"""Every metric that the service exports: name, what it says, labels. The one place of metric names."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric as its readers see it. Base units: seconds, records."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()


EVENTS_CONSUMED = Metric("streamproc_events_consumed_total", "Records of the input, run-events, in confirmed commits.")
EVENTS_REJECTED = Metric(
    "streamproc_events_rejected_total", "Records sent to the dead-letter topic, by either stage.", ("reason",)
)
EVENT_VERDICTS = Metric("streamproc_event_verdicts_total", "What became of the runs' events.", ("verdict",))
LAST_EVENT = Metric(
    "streamproc_last_event_timestamp_seconds",
    "When the records of the newest commit with input records were read, by the clock; 0: none yet.",
)
COMMIT_DURATION = Metric(
    "streamproc_commit_duration_seconds",
    "From the fetch of a commit's first records to its confirmation; of the fold stage, since windows wait on purpose.",
)
END_TO_END_LATENCY = Metric(
    "streamproc_end_to_end_latency_seconds",
    "From the Kafka timestamp of a commit's first input record to the commit's confirmation; of the fold stage.",
)
TRANSACTIONS = Metric(
    "streamproc_transactions_total", "Confirmed transactions, each for all partitions that had something."
)
TRANSACTIONS_FAILED = Metric(
    "streamproc_transactions_failed_total",
    "Transactions that failed or whose outcome is unknown.",
    ("cause",),
)
KAFKA_REQUESTS = Metric("streamproc_kafka_requests_total", "Requests sent to Kafka, by their kind.", ("request",))
REBALANCES = Metric("streamproc_rebalances_total", "Assignments received from the consumer group.")

CONSUMER_LAG_RECORDS = Metric(
    "streamproc_consumer_lag_records", "Offsets between what was read and the last stable one.", ("topic", "partition")
)
CONSUMER_LAG_SECONDS = Metric(
    "streamproc_consumer_lag_seconds", "Age of the last record read; 0 where nothing is unread.", ("topic", "partition")
)
TASK_STATE = Metric("streamproc_task_state", "Tasks in each state, those of both stages.", ("state",))
RESTORE_REMAINING = Metric(
    "streamproc_restore_remaining_records", "State records still to be read by tasks that are restoring, about."
)

PARTITIONS_PAUSED = Metric(
    "streamproc_partitions_paused",
    "Running tasks that wait, by what for; their records stay in the input.",
    ("reason",),
)

RUNS = Metric("streamproc_runs", "Runs remembered by the running tasks, by their latest status.", ("status",))
OLDEST_RUN_CREATED = Metric(
    "streamproc_oldest_run_created_timestamp_seconds",
    "When the oldest open run in a status was created, or first seen where it does not say; 0: there is none.",
    ("status",),
)
RUNS_OVERDUE = Metric("streamproc_runs_overdue", "Open runs with a deadline that passed, by its kind.", ("kind",))
STATE_BYTES = Metric(
    "streamproc_state_bytes",
    "What the payloads of the running tasks' runs take: memory, and the part of the disk that is in use.",
    ("kind",),
)
STATE_LIMIT = Metric(
    "streamproc_state_limit_bytes",
    "What they may take, all tasks together, each an equal share; none of disk where no setting limits it.",
    ("kind",),
)
STATE_PAYLOADS = Metric(
    "streamproc_state_payloads", "Runs whose payloads are in memory, and those whose are on disk alone.", ("kind",)
)
STATE_SNAPSHOT = Metric(
    "streamproc_state_snapshot_timestamp_seconds",
    "As of when a running task's state is in its snapshot; 0: none taken yet. Nothing where no directory is set.",
    ("partition",),
)
RUNS_ENDED = Metric("streamproc_runs_ended_total", "Runs that ended.", ("outcome", "assistant"))
RUN_TRANSITIONS = Metric("streamproc_run_transitions_total", "Applied changes of status.", ("from", "to"))
RUN_ANOMALIES = Metric("streamproc_run_anomalies_total", "What is odd about events and changes of status.", ("kind",))
RUN_DURATION = Metric("streamproc_run_duration_seconds", "From a run's creation to its end.", ("outcome", "model"))
RUN_QUEUE_WAIT = Metric("streamproc_run_queue_wait_seconds", "From a run's creation to its first start.")
RUN_ACTION_WAIT = Metric("streamproc_run_action_wait_seconds", "How long runs waited for a required action.")
RUN_TOKENS = Metric("streamproc_run_tokens_total", "Tokens used by runs that ended.", ("type", "model", "assistant"))
RUNS_FORGOTTEN = Metric("streamproc_runs_forgotten_total", "Runs dropped when their retention was over.")

ALERTS = Metric("streamproc_alerts_total", "Records sent to run-alerts, in confirmed commits.", ("kind", "state"))
WINDOWS_CLOSED = Metric("streamproc_windows_closed_total", "Windows closed: their first records sent to run-metrics.")
WINDOW_REVISIONS = Metric("streamproc_window_revisions_total", "Revisions of closed windows, after the first record.")
WINDOW_LATE = Metric("streamproc_window_late_total", "Arrivals after a window closed, counted in one of its revisions.")
WINDOW_DROPPED = Metric(
    "streamproc_window_dropped_total",
    "Arrivals after a window's retention was over, missing in run-metrics; a day or more after it they are old.",
    ("reason",),
)
WINDOWS_UNJUDGED = Metric(
    "streamproc_windows_unjudged_total",
    "Closed windows that do not tell whether a condition on them holds, by the kind of its alert.",
    ("kind",),
)
WINDOW_WATERMARK = Metric(
    "streamproc_window_watermark_timestamp_seconds",
    "How far a measurement partition's windows have come in event time; 0: nowhere yet.",
    ("partition",),
)

PUSH_SENT = Metric("streamproc_push_sent_total", "Alerts sent to a receiver, by what it said.", ("receiver", "result"))
PUSH_WAITING = Metric(
    "streamproc_push_waiting", "Alerts that were read and that no receiver has taken or refused yet.", ("receiver",)
)
PUSH_LAST_SUCCESS = Metric(
    "streamproc_push_last_success_timestamp_seconds", "When a receiver last took alerts; 0: never.", ("receiver",)
)

REGISTRY_REQUESTS = Metric(
    "streamproc_registry_requests_total", "Requests to the schema registry, by what became of them.", ("result",)
)

BUILD = Metric("streamproc_build", "The version that is running, the profile in force, and the codec: native or pure.")
