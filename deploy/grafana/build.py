"""The source of streamproc.json: python deploy/grafana/build.py writes it."""  # noqa: INP001 - a script

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).with_name("streamproc.json")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 24, 8, 7


class Query(NamedTuple):
    """What is drawn, and what each line is called."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One picture. `unit` as Grafana calls it."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    type: str = "timeseries"
    stacked: bool = False
    width: int = WIDTH


def of_job(metric: str, *matchers: str) -> str:
    """Return the selector of the chosen jobs' series."""
    chosen = ", ".join(('job=~"$job"', *matchers))
    return f"{metric}{{{chosen}}}"


def rate(metric: str, *labels: str, matchers: Sequence[str] = ()) -> str:
    """Return how much a counter grows a second, by these labels."""
    return f"sum by ({', '.join(labels)}) (rate({of_job(metric, *matchers)}[$__rate_interval]))"


def quantiles(metric: str, *labels: str) -> Sequence[Query]:
    """Return the median and the 95 % quantile of a histogram."""
    buckets = rate(f"{metric}_bucket", "le", *labels)
    name = " ".join(f"{{{{{label}}}}}" for label in labels)
    return [Query(f"histogram_quantile({q}, {buckets})", f"{text} {name}".strip()) for q, text in QUANTILES]


QUANTILES = ((0.5, "median"), (0.95, "95 %"))


def runs() -> Iterator[Panel]:
    """What happens to the runs."""
    yield Panel(
        "Alerts",
        "What Prometheus' rules say now; each has a page under deploy/runbooks.",
        "none",
        [Query('ALERTS{alertname=~"Streamproc.+", job=~"$job"}', "{{alertname}} {{severity}} {{alertstate}}")],
        type="table",
        width=2 * WIDTH,
    )
    yield Panel(
        "Open runs",
        "Runs that have not ended, unknown statuses among them.",
        "short",
        [Query(f"sum({of_job('job:streamproc_runs_open:sum')})", "open")],
        type="stat",
    )
    yield Panel(
        "Open runs by status",
        "Where runs are. One line that only grows: nothing leaves that status.",
        "short",
        [Query(of_job("job_status:streamproc_runs_open:sum"), "{{status}}")],
        stacked=True,
    )
    yield Panel(
        "Age of the oldest run",
        "By status, since the creation of the run. A run of the Assistants API expires after 600 s.",
        "s",
        [Query(of_job("job_status:streamproc_oldest_run_age_seconds:max"), "{{status}}")],
    )
    yield Panel(
        "Runs past a deadline",
        "Overdue: past expires_at. Stuck: longer in a status than STREAMPROC_DEADLINES__LIMITS_S allows.",
        "short",
        [Query(of_job("job_kind:streamproc_runs_overdue:sum"), "{{kind}}")],
    )
    yield Panel(
        "Runs that end",
        "Per second, by outcome.",
        "cps",
        [Query(rate("streamproc_runs_ended_total", "outcome"), "{{outcome}}")],
        stacked=True,
    )
    yield Panel(
        "Failure rate by assistant",
        "Share of failed runs among those that ended in 10 minutes. Without runs there is no line.",
        "percentunit",
        [Query(of_job("job_assistant:streamproc_runs_failed:ratio10m"), "{{assistant}}")],
    )
    yield Panel(
        "Failure rate by model",
        "Share of failed runs among those that ended in 10 minutes. Without runs there is no line.",
        "percentunit",
        [Query(of_job("job_model:streamproc_runs_failed:ratio10m"), "{{model}}")],
    )
    yield Panel(
        "Run duration",
        "From creation to end, by model.",
        "s",
        quantiles("streamproc_run_duration_seconds", "model"),
    )
    yield Panel(
        "Wait for a start",
        "From creation to the first start.",
        "s",
        quantiles("streamproc_run_queue_wait_seconds"),
    )
    yield Panel(
        "Wait for tool outputs",
        "How long runs stayed in a status in which they wait for somebody else, such as requires_action.",
        "s",
        quantiles("streamproc_run_action_wait_seconds"),
    )
    yield Panel(
        "Tokens",
        "Per second, of runs that ended, by model and type.",
        "short",
        [Query(rate("streamproc_run_tokens_total", "model", "type"), "{{model}} {{type}}")],
        stacked=True,
    )
    yield Panel(
        "Tokens by assistant",
        "Per second, of runs that ended. Beyond metrics.max_assistants and max_pairs it is other.",
        "short",
        [Query(rate("streamproc_run_tokens_total", "assistant"), "{{assistant}}")],
        stacked=True,
    )
    yield Panel(
        "Transitions",
        "Applied changes of status per second, by the status that is entered.",
        "cps",
        [Query(rate("streamproc_run_transitions_total", "to"), "{{to}}")],
        stacked=True,
    )
    yield Panel(
        "Alerts about runs",
        "Records written to run-alerts per second, by kind.",
        "cps",
        [Query(rate("streamproc_alerts_total", "kind", "state"), "{{kind}} {{state}}")],
    )


def stream() -> Iterator[Panel]:
    """What comes in."""
    yield Panel(
        "Since the last event",
        "Since the newest commit that had input records.",
        "s",
        [Query(f"time() - {of_job('job:streamproc_last_event_timestamp_seconds:max')}", "silent")],
        type="stat",
    )
    yield Panel(
        "Events",
        "Input records per second in confirmed commits.",
        "cps",
        [Query(rate("streamproc_events_consumed_total", "job"), "{{job}}")],
    )
    yield Panel(
        "Verdicts",
        "What became of the events, per second.",
        "cps",
        [Query(rate("streamproc_event_verdicts_total", "verdict"), "{{verdict}}")],
        stacked=True,
    )
    yield Panel(
        "Dead letters",
        "Events per second that could not be used, by reason.",
        "cps",
        [Query(rate("streamproc_events_rejected_total", "reason"), "{{reason}}")],
        stacked=True,
    )
    yield Panel(
        "Anomalies",
        "What is odd about events and changes of status, per second.",
        "cps",
        [Query(rate("streamproc_run_anomalies_total", "kind"), "{{kind}}")],
    )
    yield Panel(
        "Metric windows",
        "Closed windows, revisions of closed ones, and arrivals after the close: counted in a revision, or dropped: "
        "late ones, and old ones, for which their window's retention was over for a day or more. "
        "Unjudged: first records that do not tell whether a condition on them holds.",
        "cps",
        [
            Query(rate("streamproc_windows_closed_total", "job"), "closed {{job}}"),
            Query(rate("streamproc_window_revisions_total", "job"), "revisions {{job}}"),
            Query(rate("streamproc_window_late_total", "job"), "late {{job}}"),
            Query(rate("streamproc_window_dropped_total", "job", "reason"), "dropped as {{reason}} {{job}}"),
            Query(rate("streamproc_windows_unjudged_total", "job", "kind"), "unjudged by {{kind}} {{job}}"),
        ],
    )
    yield Panel(
        "Watermark behind the clock",
        "By partition of the measurements. A window closes when the watermark has passed its end and its grace.",
        "s",
        [
            Query(
                f"time() - max by (partition) ({of_job('streamproc_window_watermark_timestamp_seconds')} > 0)",
                "partition {{partition}}",
            )
        ],
    )
    yield Panel(
        "Runs forgotten",
        "Per second, when their retention was over.",
        "cps",
        [Query(rate("streamproc_runs_forgotten_total", "job"), "{{job}}")],
    )


def service() -> Iterator[Panel]:
    """How the service is."""
    yield Panel(
        "Instances",
        "Targets that Prometheus reaches.",
        "short",
        [Query(f"sum({of_job('up')})", "up")],
        type="stat",
    )
    yield Panel(
        "Tasks",
        "Partition tasks by state. All should be running.",
        "short",
        [Query(f"sum by (state) ({of_job('streamproc_task_state')})", "{{state}}")],
        stacked=True,
    )
    yield Panel(
        "Paused",
        "Partitions that wait, by what for. Their events stay in the input.",
        "short",
        [Query(f"sum by (reason) ({of_job('streamproc_partitions_paused')})", "{{reason}}")],
        stacked=True,
    )
    yield Panel(
        "Lag",
        "Records that are not read yet, by topic.",
        "short",
        [Query(of_job("job_topic:streamproc_consumer_lag_records:sum"), "{{topic}}")],
    )
    yield Panel(
        "Lag in time",
        "Age of the last record read, of the partition that is furthest behind.",
        "s",
        [Query(of_job("job_topic:streamproc_consumer_lag_seconds:max"), "{{topic}}")],
    )
    yield Panel(
        "Commit duration",
        "From the fetch of a commit's first records to its confirmation.",
        "s",
        quantiles("streamproc_commit_duration_seconds"),
    )
    yield Panel(
        "End-to-end latency",
        "From the Kafka timestamp of a commit's first record to its confirmation.",
        "s",
        quantiles("streamproc_end_to_end_latency_seconds"),
    )
    yield Panel(
        "Transactions and requests",
        "Per second, to Kafka: confirmed transactions, each of all partitions that had something; requests by kind.",
        "cps",
        [
            Query(rate("streamproc_transactions_total", "job"), "transactions {{job}}"),
            Query(rate("streamproc_kafka_requests_total", "request"), "{{request}}"),
        ],
    )
    yield Panel(
        "Failed transactions and rebalances",
        "Per second; failures by cause.",
        "cps",
        [
            Query(rate("streamproc_transactions_failed_total", "cause"), "{{cause}}"),
            Query(rate("streamproc_rebalances_total", "job"), "rebalances {{job}}"),
        ],
    )
    yield Panel(
        "Restore",
        "State records still to be read, by instance.",
        "short",
        [Query(of_job("streamproc_restore_remaining_records"), "{{instance}}")],
    )
    yield Panel(
        "Pushes",
        "Pushes of alerts per second, by receiver and result; and alerts that wait.",
        "short",
        [
            Query(rate("streamproc_push_sent_total", "receiver", "result"), "{{receiver}} {{result}}"),
            Query(f"sum by (receiver) ({of_job('streamproc_push_waiting')})", "{{receiver}} waiting"),
        ],
    )
    yield Panel(
        "Since the last push",
        "Since a receiver last took alerts. It only matters while alerts wait.",
        "s",
        [
            Query(
                f"time() - max by (receiver) ({of_job('streamproc_push_last_success_timestamp_seconds')} > 0)",
                "{{receiver}}",
            )
        ],
    )
    yield Panel(
        "Schema registry",
        "Requests per second to the schema registry, by what became of them. None while every schema is known.",
        "short",
        [Query(rate("streamproc_registry_requests_total", "result"), "{{result}}")],
    )
    yield Panel(
        "CPU",
        "Seconds of CPU per second, by instance. One instance uses one core at most.",
        "short",
        [Query(f"rate({of_job('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}")],
    )
    yield Panel(
        "Memory",
        "Resident, by instance: each run in retention, and payloads up to STREAMPROC_STATE__MEMORY_BYTES.",
        "bytes",
        [Query(of_job("process_resident_memory_bytes"), "{{instance}}")],
    )
    yield Panel(
        "Payloads of runs",
        "What they take in memory and of the disk, all instances together, and what settings allow.",
        "bytes",
        [
            Query(f"sum by (kind) ({of_job('streamproc_state_bytes')})", "{{kind}}"),
            Query(f"sum by (kind) ({of_job('streamproc_state_limit_bytes')})", "{{kind}}, at most"),
        ],
    )
    yield Panel(
        "Runs by where their payload is",
        "In memory, or on disk alone. Those that end or change are in memory first.",
        "short",
        [Query(f"sum by (kind) ({of_job('streamproc_state_payloads')})", "{{kind}}")],
        stacked=True,
    )
    yield Panel(
        "Age of the oldest snapshot",
        "Of the state, by instance: about STREAMPROC_STATE__SNAPSHOT_INTERVAL_S at most. Nothing without a directory.",
        "s",
        [
            Query(
                f"time() - min by (instance) ({of_job('streamproc_state_snapshot_timestamp_seconds')} > 0)",
                "{{instance}}",
            )
        ],
    )
    yield Panel(
        "Version",
        "What runs where, under which profile, and with which codec.",
        "none",
        [Query(of_job("streamproc_build_info"), "{{instance}} {{version}} {{profile}} {{codec}}")],
        type="table",
    )


def console() -> Iterator[Panel]:
    """How the consoles are."""
    yield Panel(
        "Read models",
        "1 where a console has had all that there was, and whether it waits for Kafka or its disk.",
        "none",
        [
            Query(of_job("streamproc_console_complete"), "{{instance}} complete"),
            Query(of_job("streamproc_console_halted"), "{{instance}} waits for {{cause}}"),
        ],
    )
    yield Panel(
        "Age of what consoles show",
        "Since the read model last had all that there was.",
        "s",
        [Query(of_job("streamproc_console_behind_seconds"), "{{instance}}")],
    )
    yield Panel(
        "Lag of consoles",
        "Offsets that are not read yet, by topic.",
        "short",
        [Query(f"sum by (instance, topic) ({of_job('streamproc_console_lag_records')})", "{{instance}} {{topic}}")],
    )
    yield Panel(
        "Records into read models",
        "Per second: read, and left out since they cannot be read.",
        "cps",
        [
            Query(rate("streamproc_console_records_read_total", "instance"), "{{instance}} read"),
            Query(rate("streamproc_console_records_unreadable_total", "instance", "topic"), "{{instance}} {{topic}}"),
        ],
    )
    yield Panel(
        "Size of read models",
        "The file and its log. It grows with runs, their histories and the retention of the rest.",
        "bytes",
        [Query(of_job("streamproc_console_read_model_bytes"), "{{instance}}")],
    )
    yield Panel(
        "Runs in read models",
        "At most STREAMPROC_CONSOLE__MAX_RUNS, open ones apart. Those that ended first are left out.",
        "short",
        [Query(of_job("streamproc_console_runs"), "{{instance}}")],
    )
    yield Panel(
        "Requests to consoles",
        "Per second, by class of status. Probes and scrapes are left out.",
        "cps",
        [Query(rate("streamproc_console_requests_total", "status"), "{{status}}")],
        stacked=True,
    )
    yield Panel(
        "Answers of consoles",
        "From a request until its answer begins, by route.",
        "s",
        quantiles("streamproc_console_request_duration_seconds", "route"),
    )
    yield Panel(
        "Event streams and interrupted queries",
        "Streams that are open, 50 for each console at most; queries per second that were over their limit of 250 ms.",
        "short",
        [
            Query(of_job("streamproc_console_stream_listeners"), "{{instance}} streams"),
            Query(rate("streamproc_console_queries_interrupted_total", "instance"), "{{instance}} interrupted"),
        ],
    )
    yield Panel(
        "Rebuilds and replays",
        "Per second: read models begun anew, by cause; dead letters sent back from consoles, by outcome.",
        "cps",
        [
            Query(rate("streamproc_console_rebuilds_total", "cause"), "rebuilt: {{cause}}"),
            Query(rate("streamproc_console_replays_total", "outcome"), "replay {{outcome}}"),
        ],
    )


ROWS = {"Runs": runs, "Stream": stream, "Service": service, "Console": console}


def dashboard() -> dict[str, Any]:
    """Return what Grafana imports."""
    return {
        "uid": "streamproc",
        "title": "streamproc",
        "description": "Runs, the stream that reports them, the service in between, and the consoles.",
        "tags": ["streamproc", "kafka"],
        "schemaVersion": 37,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "templating": {"list": [_datasource(), _job()]},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_panels()),
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Yield the panels row by row, from left to right."""
    ids, y = count(1), 0
    for title, panels in ROWS.items():
        yield {
            "id": next(ids),
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
            "panels": [],
        }
        x, y = 0, y + 1
        for panel in panels():
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            yield _panel(panel, next(ids), {"h": HEIGHT, "w": panel.width, "x": x, "y": y})
            x += panel.width
        y += HEIGHT


def _panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {"fillOpacity": 5}
    at_once = panel.type != "timeseries"
    return {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {} if at_once else custom},
            "overrides": [],
        },
        "options": {} if at_once else {"legend": {"displayMode": "list"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": at_once,
                "range": not at_once,
                "format": "table" if panel.type == "table" else "time_series",
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}


def _job() -> dict[str, Any]:
    query = "label_values(streamproc_build_info, job)"
    return {
        "name": "job",
        "label": "Job",
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "job"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
