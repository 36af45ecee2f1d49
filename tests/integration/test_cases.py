"""Inputs that came out wrong for others, through the service on a real Kafka (tests/fixtures/cases.jsonl).

Each case is sent as JSON, and as Avro where its types allow; the times are moved to now, their distances kept.
"""

import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import fastavro
import pytest

from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.schemas import load
from tests.support.books import writer_schema
from tests.support.fixtures import DIRECTORY
from tests.support.metrics_oracle import read
from tests.support.service import Fleet, Record, Worker
from tests.support.waiting import eventually

BASE_S = 1_796_000_000
"""What the file's times are near to."""
AGO_S = 100
"""So long before now that is moved to: no case has times that are later than 90 s after it."""
TIMES = ("created_at", "started_at", "expires_at", "completed_at", "failed_at", "cancelled_at")
SETTINGS = {"WINDOWS__SIZES_S": "[10]", "WINDOWS__GRACE_S": "1"}


class Case(NamedTuple):
    """The values of one case in their order, each with its Kafka timestamp."""

    name: str
    run_id: str
    sent: list[tuple[bytes, int]]


class Found(NamedTuple):
    """What the service made of one case. `metrics`: the latest revisions of its windows, added up."""

    state: dict[str, Any] | None
    changes: list[dict[str, Any]]
    forgotten: int
    alerts: list[str]
    metrics: dict[str, Counter[str]]


def _moved(second: Any, shift_s: int) -> Any:
    is_near = isinstance(second, int) and abs(second - BASE_S) < 10_000_000
    return second + shift_s if is_near else second


def _lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DIRECTORY / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def _cases(framing: str, shift_s: int) -> Iterator[Case]:
    values: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    ids: dict[str, str] = {}
    for line in _lines():
        name, raw = line["case"], line.get("raw")
        in_seconds = line["kafka_timestamp"] < 10**11
        timestamp = line["kafka_timestamp"] + shift_s * (1 if in_seconds else 1_000)
        event = json.loads(raw) if raw is not None else line["event"]
        ids[name] = event["id"]
        event["assistant_id"] = f"asst_{event['id']}"
        event |= {field: _moved(event[field], shift_s) for field in TIMES if field in event}
        value = json.dumps(event).encode() if framing == "json" else _avro(event)
        if value is not None:
            values[name].append((value, timestamp))
    return (Case(name, ids[name], sent) for name, sent in values.items())


def _avro(event: dict[str, Any]) -> bytes | None:
    """Return an object as Avro, None where it has a value that its schema has no type for."""
    schema = writer_schema("v1_5")
    buffer = io.BytesIO(schema.header)
    buffer.seek(0, io.SEEK_END)
    full = {field["name"]: None for field in schema.document["fields"]} | {"tools": [], "file_ids": []} | event
    try:
        fastavro.schemaless_writer(buffer, schema.parsed, full, strict_allow_default=False)
    except (ValueError, TypeError, AttributeError, UnicodeEncodeError):
        return None
    return buffer.getvalue()


async def _found(service: Fleet, case: Case) -> Found:
    topics = service.topics
    states = [each for each in await service.read(topics.state, 0) if each.key == case.run_id.encode()]
    value = states[-1].value if states else None
    changes = [read(each, "run_transition") for each in await service.read(topics.transitions, 0)]
    said = [read(each, "run_alert") for each in await service.read(topics.alerts, 0)]
    return Found(
        None if value is None else _record("run_state", value),
        [change for change in changes if change["run_id"] == case.run_id],
        sum(each.value is None for each in states),
        [alert["kind"] for alert in said if alert["run_id"] == case.run_id],
        await _metrics(service, f"asst_{case.run_id}"),
    )


def _record(schema: str, value: bytes) -> dict[str, Any]:
    found: Any = fastavro.schemaless_reader(io.BytesIO(value[SINGLE_OBJECT_BYTES:]), load(schema).parsed, None)
    return dict(found)


async def _metrics(service: Fleet, assistant: str) -> dict[str, Counter[str]]:
    latest: dict[int, dict[str, Any]] = {}
    read_all = [await service.read(service.topics.metrics, number) for number in range(service.partitions)]
    for record in chain.from_iterable(read_all):
        said = read(record, "run_metrics")
        if said["assistant_id"] == assistant:
            latest[said["window_start"]] = said
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for said in latest.values():
        for name in ("ended", "errors", "tokens", "transitions"):
            total[name].update(said[name])
        for name in ("run_duration", "queue_wait"):
            total[name].update({"count": said[name]["count"], "sum_ms": said[name]["sum_ms"]})
    return total


async def _anomalies(worker: Worker) -> dict[str, float]:
    _, text = await worker.get("/metrics")
    marker = 'streamproc_run_anomalies_total{kind="'
    found = [line.removeprefix(marker).split('"} ') for line in text.splitlines() if line.startswith(marker)]
    return {kind: float(count) for kind, count in found}


@pytest.mark.parametrize("framing", ["json", "avro"])
async def test_cases_come_out_right(service: Fleet, framing: str) -> None:
    """Each line of the file that says what is expected of its case is held here."""
    shift_s = int(time.time()) - AGO_S - BASE_S
    cases = list(_cases(framing, shift_s))
    records: list[Record] = [
        (case.run_id.encode(), value, timestamp, []) for case in cases for value, timestamp in case.sent
    ]
    worker = service.start(**SETTINGS)
    await eventually(worker.is_ready)
    for record in records:
        await service.send_records(record)
    await service.drained()
    measured = [case for case in cases if case.name not in OLD | OPEN]

    async def all_measured() -> bool:
        return all([(await _metrics(service, f"asst_{case.run_id}"))["ended"].total() for case in measured])

    await eventually(all_measured)
    found = {case.name: await _found(service, case) for case in cases}
    anomalies = await _anomalies(worker)
    assert worker.stop() == 0
    assert await service.read(service.topics.dead_letters, 0) == []
    assert len(cases) == (9 if framing == "json" else 6)
    for name, it in found.items():
        _check(name, it, shift_s)
    assert anomalies["timestamp_absent"] == 3
    assert anomalies["old_timestamp"] == 4
    assert anomalies["time_unset"] >= 3
    assert bool(anomalies["text_damaged"]) is False, "the damaged text is not read"


OLD = {"timestamps 8 days old on a live topic"}
OPEN = {"unset times as year 1 and empty text"}
STATUSES = ["queued", "in_progress", "completed"]


def _check(name: str, it: Found, shift_s: int) -> None:
    """Hold what came out of a case against what its line says."""
    state = it.state
    assert state is not None, name
    assert (it.forgotten, it.alerts, state["attempt"]) == (0, [], 1), name
    statuses = [change["to_status"] for change in it.changes]
    match name:
        case "timestamps in seconds":
            assert statuses == STATUSES
            assert it.metrics["ended"] == {"succeeded": 1}
            assert min(change["occurred_at"] for change in it.changes) > (BASE_S + shift_s) * 1_000
        case "timestamps 8 days old on a live topic":
            assert statuses == STATUSES
            assert max(change["occurred_at"] for change in it.changes) < (BASE_S + shift_s - 600_000) * 1_000
        case "unset times as 0":
            assert statuses == STATUSES
            assert (state["started_at"], state["expires_at"]) == (BASE_S + shift_s + 5, None)
            assert state["ended_at"] == BASE_S + shift_s + 9
            assert it.metrics["queue_wait"] == {"count": 1, "sum_ms": 35_000}
            assert it.metrics["run_duration"] == {"count": 1, "sum_ms": 39_000}
        case "unset times as year 1 and empty text":
            assert (statuses, state["started_at"], state["expires_at"]) == (["queued"], None, None)
        case "usage at requires_action, null, then final":
            assert state["usage"] == {"prompt_tokens": 500, "completion_tokens": 70, "total_tokens": 570}
            assert it.metrics["tokens"] == {"prompt": 500, "completion": 70}
        case "error that was got over":
            assert (state["error_code"], it.changes[-1]["error_code"]) == (None, None)
            assert (it.metrics["errors"], it.metrics["ended"]) == ({}, {"succeeded": 1})
        case "only the terminal event, no end time in it":
            assert it.metrics["run_duration"] == {"count": 1, "sum_ms": 120_000}
        case "whole-number floats and a numeric code":
            assert (state["usage"]["total_tokens"], state["error_code"]) == (15, "500")
            assert (it.metrics["errors"], it.metrics["tokens"]) == ({"500": 1}, {"prompt": 12, "completion": 3})
        case "half a surrogate pair in a text that is not read":
            assert (statuses, state["error_code"]) == (["failed"], "server_error")
        case other:
            pytest.fail(f"nothing holds the case {other!r}")
