"""What the real services show of their runs: read alike as JSON and as Avro, and folded into documented transitions."""

import json
import math
from collections import Counter
from datetime import datetime
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streamproc.codec.arrival import MAX_NAME_CHARS, Framed
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.framing import confluent
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.schemas import load as load_schema
from streamproc.core.model import EventFlag, Moment, Verdict
from streamproc.core.profiles import ASSISTANTS, LANGGRAPH, PROFILES, RESPONSES
from streamproc.core.rules import Rules
from streamproc.core.shape import METADATA, TIMES
from streamproc.core.state import State
from streamproc.core.step import begin, step
from streamproc.errors import RecordRejected
from streamproc.notify.naming import alert_name
from streamproc.runtime.taskstates import TaskState
from streamproc.settings import profiles as profilebook
from tests.observe.reading import PARSERS, exposed, label_values
from tests.observe.reports import report, source
from tests.support import runobjects
from tests.support.books import RUN_OBJECT_VERSIONS, book_of
from tests.support.fixtures import PROFILE_OF, load
from tests.support.oracle import FOREVER, NO_DEADLINES
from tests.support.runobjects import LONGEST, RUN_OBJECTS, SCHEMAS, Arrived, encode
from tests.support.sums import summary_of_all
from tests.support.watched import watched_metrics

BOOKS = {name: profilebook.book_of(profile) for name, profile in PROFILES.items()}
SCHEMA_OF = {
    "assistants_v1": "run_object_v1",
    "assistants_v1_5": "run_object_v1_5",
    "assistants_v2": "run_object_v2",
    "assistants_v2_1": "run_object_v2_1",
    "foundry": "run_object_v2_1",
    "responses": "response",
    "langgraph": "langgraph_run",
}
STEP_MS = 2_000
"""Between two events of a run, in Kafka."""
each_fixture = pytest.mark.parametrize("name", PROFILE_OF)


@cache
def _writer(name):
    return WriterSchema(load_schema(SCHEMA_OF[name]).document, PROFILE_OF[name].shape)


def _arrivals(objects, values):
    """Records of one partition, keyed by the run's id."""
    ids = [found.get("id") or found["run_id"] for found in objects]
    seen = Counter()
    arrivals = []
    for number, (key, value, found) in enumerate(zip(ids, values, objects, strict=True)):
        arrivals.append(Arrived(number, value, _created_ms(found) + seen[key] * STEP_MS, key.encode()))
        seen[key] += 1
    return arrivals


def _created_ms(found):
    """When a run was created: Kafka's times go with the object's."""
    created = found["created_at"]
    return 1_000 * int(datetime.fromisoformat(created).timestamp() if isinstance(created, str) else created)


def _json(found):
    return json.dumps(found, ensure_ascii=False).encode()


def _as_json(name):
    """The events of a fixture as JSON."""
    objects = load(name)
    decoded = decode(_arrivals(objects, map(_json, objects)), BOOKS[PROFILE_OF[name].name])
    assert decoded.rejections == []
    assert len(decoded.events) == decoded.taken == len(objects)
    return decoded.events


def _alike(event):
    """An event without what its framing decides."""
    return structs.replace(event, payload=b"", schema="")


def _assistants(found):
    used, action = found.get("usage"), found["required_action"]
    calls = action["submit_tool_outputs"]["tool_calls"] if action else []
    return {
        "run_id": found["id"],
        **{name: found[name] for name in ("status", "thread_id", "assistant_id", "model", *TIMES)},
        "usage": (used["prompt_tokens"], used["completion_tokens"], used["total_tokens"]) if used else None,
        "error_code": found["last_error"]["code"] if found["last_error"] else None,
        "required_tools": tuple(call["function"]["name"] for call in calls),
    }


def _responses(found):
    used, talk = found["usage"], found["conversation"]
    return {
        **dict.fromkeys(("assistant_id", *TIMES)),
        "run_id": found["id"],
        "status": found["status"],
        "thread_id": talk["id"] if talk else None,
        "model": found["model"],
        "created_at": math.floor(found["created_at"]),
        "completed_at": None if found["completed_at"] is None else math.floor(found["completed_at"]),
        "usage": (used["input_tokens"], used["output_tokens"], used["total_tokens"]) if used else None,
        "error_code": found["error"]["code"] if found["error"] else None,
        "required_tools": (),
    }


def _langgraph(found):
    return {
        **dict.fromkeys(("model", "usage", "error_code", *TIMES)),
        **{name: found[name] for name in ("run_id", "status", "thread_id", "assistant_id")},
        "created_at": math.floor(datetime.fromisoformat(found["created_at"]).timestamp()),
        "completed_at": math.floor(datetime.fromisoformat(found["updated_at"]).timestamp()),
        "required_tools": (),
    }


WRITTEN = {ASSISTANTS.name: _assistants, RESPONSES.name: _responses, LANGGRAPH.name: _langgraph}


@each_fixture
def test_each_object_is_read_as_it_is_written(name):
    objects = load(name)
    for found, event in zip(objects, _as_json(name), strict=True):
        read = structs.asdict(event)
        expected = WRITTEN[PROFILE_OF[name].name](found)
        assert {target: read[target] for target in expected} == expected
        assert (event.schema, event.payload, event.flags) == ("json", _json(found), ())


class Unfit(Exception):
    """The schema has no place for a value."""


def _fit(schema, value):
    """What a producer makes of a JSON value to write it with a schema: drop what that lacks, dump what is a text."""
    if isinstance(schema, list):
        for branch in sorted(schema, key=lambda branch: isinstance(branch, str)):  # A record before a text.
            try:
                return _fit(branch, value)
            except Unfit:
                continue
        raise Unfit
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record" and isinstance(value, dict):
        fields = {field["name"]: field for field in schema["fields"]}
        if any(name not in value and "default" not in field for name, field in fields.items()):
            raise Unfit
        return {name: _fit(fields[name]["type"], inside) for name, inside in value.items() if name in fields}
    if kind == "array" and isinstance(value, list):
        return [_fit(schema["items"], item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _fit(schema["values"], inside) for key, inside in value.items()}
    if kind == "string" and value is not None:
        return value if isinstance(value, str) else json.dumps(value)
    types = {"null": type(None), "boolean": bool, "long": int, "double": int | float}
    if kind not in types or not isinstance(value, types[kind]) or (kind != "boolean" and isinstance(value, bool)):
        raise Unfit
    return float(value) if kind == "double" else value


def _by_both(objects, schema, book, written):
    """The events of objects in Avro, which both decoders must agree on."""
    payloads = [encode(schema, found) for found in written]
    records = _arrivals(objects, [schema.header + payload for payload in payloads])
    decoded = decode(records, book)
    assert decoded.rejections == []
    alone = [decode_one(Framed(record, payload), schema) for record, payload in zip(records, payloads, strict=True)]
    assert decoded.events == alone
    assert {event.schema for event in alone} == {schema.label}
    return alone


@each_fixture
def test_each_object_is_the_same_event_in_its_bundled_schema(name):
    """The shipped schemas have a place for all that is in the fixtures and read."""
    objects, schema = load(name), _writer(name)
    written = [_fit(schema.document, found) for found in objects]
    events = _by_both(objects, schema, BOOKS[PROFILE_OF[name].name], written)
    assert [*map(_alike, events)] == [*map(_alike, _as_json(name))]


ROUND = ("queued", "in_progress", "requires_action", "queued", "in_progress")
OPEN = ("queued", "in_progress")
# Each run: its statuses in order, and its outcome. Prompt and completion tokens of all runs. Per outcome how many runs
# ended, and their durations in seconds. How often a run waited for its start, and for how long; the same of an action.
# A wait or an end that the object does not date is measured in Kafka, where STEP_MS lie between two events.
EXPECTED = {
    "assistants_v1": (
        {
            "run_q8NRBkHPDKZTTqZBEYlKVXT0": ((*ROUND, "completed"), "succeeded"),
            "run_mXhI3Lp5VZ0hUyFZ3oE7cQwJ": ((*OPEN, "failed"), "failed"),
        },
        {"prompt": 1421, "completion": 187},
        {"succeeded": (1, 41), "failed": (1, 9)},
        (2, 3),
        (1, 2),
        {"server_error": 1},
    ),
    "assistants_v1_5": (
        {
            "run_lsP8VDVyHXYfSmDe3kGdK8xv": ((*ROUND, "completed"), "succeeded"),
            "run_Yt5nD2wR8sKq1vB4xZ7aC9eF": ((*OPEN, "requires_action", "expired"), "expired"),
        },
        {"prompt": 1505 + 588, "completion": 240 + 21},
        # From its first event to the one that it expired with, four later; the run has no time for it.
        {"succeeded": (1, 27), "expired": (1, 8)},
        (2, 3),
        (2, 4),
        {},
    ),
    "assistants_v2": (
        {
            "run_TLbEuQ6ugTtFgw4bZJvLNnTf": ((*ROUND, "completed"), "succeeded"),
            "run_9vGkS3eLq7HxW5yA1oRtU4iC": ((*OPEN, "cancelling", "cancelled"), "cancelled"),
        },
        {"prompt": 10_233 + 300, "completion": 891},
        {"succeeded": (1, 90), "cancelled": (1, 33)},
        (2, 2),
        (1, 2),
        {},
    ),
    "assistants_v2_1": (
        {
            "run_bWxX3dPnJ6mQk2ZrT8sVfY1L": ((*ROUND, "completed"), "succeeded"),
            "run_gJ4tLs0WqX9zVc6NhB2kRy8M": ((*OPEN, "incomplete"), "incomplete"),
            "run_Rk7wQz3NcXv5LtJp9HbYs1Gd": ((*OPEN, "failed"), "failed"),
        },
        {"prompt": 2048 + 411, "completion": 96 + 256},
        {"succeeded": (1, 22), "incomplete": (1, 8), "failed": (1, 2)},
        (3, 3),
        (1, 2),
        {"rate_limit_exceeded": 1},
    ),
    "foundry": (
        {
            "run_4ZtYxWvUsRqPoNmLkJiHgFeD": ((*ROUND, "completed"), "succeeded"),
            "run_W2qKz8LxNvTcR5sYpJ7hGbMd": ((*OPEN, "incomplete"), "incomplete"),
            "run_M6dVb1XtQzLk3NwRyS9cHjPg": ((*OPEN, "failed"), "failed"),
        },
        {"prompt": 3120 + 905, "completion": 402 + 12},
        {"succeeded": (1, 15), "incomplete": (1, 3), "failed": (1, 4)},
        (3, 3),
        (1, 2),
        {"tool_user_error": 1},
    ),
    "responses": (
        {
            "resp_6899f8a0b1c48190a9e8d7c6b5f4a3020c4b": ((*OPEN, "completed"), "succeeded"),
            "resp_6899f8b4c5d68190b8a7c6d5e4f3a2b10c4b": ((*OPEN, "failed"), "failed"),
            "resp_6899f8c8d7e88190a7b6c5d4e3f2a1b00c4b": ((*OPEN, "incomplete"), "incomplete"),
            "resp_6899f8dce9fa8190b6c5d4e3f2a1b0c90c4b": ((*OPEN, "cancelled"), "cancelled"),
        },
        {"prompt": 812 + 958, "completion": 140 + 64},
        # Only a completed one says when it ended.
        {"succeeded": (1, 18), "failed": (1, 4), "incomplete": (1, 4), "cancelled": (1, 4)},
        (4, 4 + 2 + 2 + 2),
        (0, 0),
        {"server_error": 1},
    ),
    "langgraph": (
        {
            "1ef7a9c4-8b32-6d0e-9f41-3b5c7d9e1a02": (
                ("pending", "running", "interrupted", "running", "success"),
                "succeeded",
            ),
            "1ef7a9d1-0c44-6f7a-8e20-5d6f7a8b9c03": (("pending", "running", "error"), "failed"),
            "1ef7a9d9-5e76-6b1c-b3d4-7e8f9a0b1c04": (("pending", "running", "timeout"), "expired"),
        },
        {},
        {"succeeded": (1, 31 * 60 + 42), "failed": (1, 12), "expired": (1, 3601)},
        (3, 6),
        (1, 2),
        {},
    ),
}


@each_fixture
@pytest.mark.parametrize("framing", ["json", "avro"])
def test_a_fixture_folds_into_the_documented_transitions(name, framing):
    runs, tokens, durations, queue_wait, action_wait, errors = EXPECTED[name]
    profile, objects = PROFILE_OF[name], load(name)
    events = _as_json(name)
    if framing == "avro":
        written = [_fit(_writer(name).document, found) for found in objects]
        events = _by_both(objects, _writer(name), BOOKS[profile.name], written)
    state = State(Rules(profile, FOREVER, NO_DEADLINES))
    outcome = step(state, events, Moment(max(each.timestamp for each in events), caught_up=True), begin(state))

    made = [(t.run_id, t.from_status, t.to_status, t.expected, t.outcome) for t in outcome.transitions]
    assert made == [
        (run_id, start, to, True, outcome if to == statuses[-1] else None)
        for run_id, (statuses, outcome) in runs.items()
        for start, to in zip((None, *statuses), statuses, strict=False)
    ]
    assert set(outcome.tally.anomalies) <= {"old_timestamp"}, "some files hold runs of several days"
    assert set(outcome.tally.verdicts) <= {Verdict.APPLIED, Verdict.DUPLICATE}
    assert outcome.alerts == []
    totals = summary_of_all(outcome.tally)
    assert totals.tokens == tokens
    assert {kind: (each.count, each.sum_ms / 1000) for kind, each in totals.runs.items()} == durations
    assert (totals.queue_wait.count, totals.queue_wait.sum_ms / 1000) == queue_wait
    assert (totals.action_wait.count, totals.action_wait.sum_ms / 1000) == action_wait
    assert totals.errors == errors
    state.merge(outcome)
    assert list(state.open_runs()) == []


def test_the_identical_second_queued_event_is_a_duplicate():
    events = _as_json("assistants_v2_1")
    state = State(Rules(ASSISTANTS, FOREVER, NO_DEADLINES))
    outcome = step(state, events[:2], Moment(events[1].timestamp, caught_up=False), begin(state))
    assert outcome.tally.verdicts == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 1}


def test_what_moves_or_vanishes_is_kept_as_first_or_last_seen():
    """started_at moves when a run resumes, expires_at is null at the end."""
    objects, events = load("assistants_v1_5"), _as_json("assistants_v1_5")
    state = State(Rules(ASSISTANTS, FOREVER, NO_DEADLINES))
    runs = step(state, events, Moment(events[-1].timestamp, caught_up=False), begin(state)).runs
    created = objects[0]["created_at"]
    resumed = runs["run_lsP8VDVyHXYfSmDe3kGdK8xv"]
    assert (resumed.started_at, resumed.expires_at) == (created + 2, created + 600)
    expired = runs["run_Yt5nD2wR8sKq1vB4xZ7aC9eF"]
    assert objects[-1]["expires_at"] is None
    assert expired.expires_at == objects[-2]["expires_at"] is not None


# Another producer's schema of the same runs: its own order, names in namespaces, enums, logical types, records around.
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def _record(called, /, **types):
    return {"type": "record", "name": called, "fields": [{"name": each, "type": kind} for each, kind in types.items()]}


_DETAILS = {**_record("TokenDetails", cached_tokens=["null", "int"]), "namespace": "com.contoso.agents.usage"}
_CALL = _record(
    "com.contoso.agents.tools.Call",
    function=_record("Function", arguments=["null", "string"], name="string"),
    type={"type": "enum", "name": "CallType", "symbols": ["function", "mcp"]},
    id="string",
)
_STATUSES = {"type": "enum", "name": "com.contoso.agents.RunStatus", "symbols": sorted(ASSISTANTS.statuses)}
_USAGE = {
    **_record(
        "Usage",
        prompt_token_details=["null", _DETAILS],
        total_tokens=["null", "int"],
        completion_tokens=["null", "int"],
        prompt_tokens=["null", "int"],
    ),
    "namespace": "com.contoso.agents.usage",
}
OTHERS = {
    **_record(
        "ThreadRun",
        trace=_record(
            "com.contoso.observability.Trace", region="string", span=_record("Span", depth="int", sampled="boolean")
        ),
        usage=["null", _USAGE],
        status=_STATUSES,
        metadata=["null", {"type": "map", "values": "string"}],
        **{name: ["null", MILLIS] for name in reversed(TIMES) if name != "created_at"},
        last_error=["null", _record("Failure", message=["null", "string"], code="string")],
        tool_resources=[
            "null",
            {"type": "map", "values": {"type": "map", "values": {"type": "array", "items": "string"}}},
        ],
        previous_status=["null", "com.contoso.agents.RunStatus"],
        required_action=[
            "null",
            _record(
                "Action",
                submit_tool_outputs=["null", _record("Outputs", tool_calls={"type": "array", "items": _CALL})],
                type="string",
            ),
        ],
        model="string",
        created_at=MILLIS,
        assistant_id="string",
        thread_id="string",
        incomplete_details=["null", _record("Why", reason=["null", "string"])],
        temperature=["null", "float"],
        id="string",
        is_background="boolean",
    ),
    "namespace": "com.contoso.agents",
}


def _others(found):
    """One of Foundry's runs as that producer writes it."""
    times = {name: None if found[name] is None else found[name] * 1000 for name in TIMES}
    trace = {"region": found["project"]["region"], "span": {"depth": 3, "sampled": True}}
    own = {field["name"] for field in OTHERS["fields"]}
    kept = {name: value for name, value in found.items() if name in own}
    return {**kept, **times, "trace": trace, "previous_status": None}


def test_foundry_in_the_schema_of_another_producer():
    objects = load("foundry")
    schema = WriterSchema(OTHERS, ASSISTANTS.shape, confluent(100_042))
    book = SchemaBook((), ASSISTANTS.shape, registered=True)
    book.learn(schema.header, schema)
    events = _by_both(objects, schema, book, map(_others, objects))
    assert [*map(_alike, events)] == [*map(_alike, _as_json("foundry"))]
    assert {event.schema for event in events} == {"id:100042"}


def _numbers(value):
    if isinstance(value, dict | list):
        for inside in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inside)
    elif isinstance(value, float):
        yield value


ODD = {
    "id": ("", "\x00", "a\u202eb", "r" * 257),
    "status": ("", "\n", "s" * 65),
    **dict.fromkeys(TIMES, (-1, 253_402_300_800, LONGEST, -LONGEST - 1)),
    **dict.fromkeys(("thread_id", "assistant_id", "model"), ("x" * (MAX_NAME_CHARS + 1),)),
}
oddities = st.just({}) | st.sampled_from([{name: value} for name, values in ODD.items() for value in values])
"""What makes a record a bad one, half of the time."""


def _fate(record, book):
    """The event, else why there is none."""
    decoded = decode([record], book)
    if decoded.rejections:
        [rejection] = decoded.rejections
        return rejection.reason
    [event] = decoded.events
    return _alike(event)


def _alone(record, schema):
    try:
        return _alike(decode_one(Framed(record, record.value[len(schema.header) :]), schema))
    except RecordRejected as error:
        return error.reason


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_a_run_object_is_the_same_event_as_json_and_as_avro(version, data):
    """This holds the paths in JSON equal to the schemas. Where one is refused, both are, for the same reason."""
    found = data.draw(RUN_OBJECTS[version]) | data.draw(oddities)
    assume(all(map(math.isfinite, _numbers(found))))
    [in_avro] = runobjects.arrivals(runobjects.framed(version, found))
    avro = _fate(in_avro, book_of(SCHEMAS[version]))
    assert _alone(in_avro, SCHEMAS[version]) == avro
    for ensure_ascii in (True, False):
        [in_json] = runobjects.arrivals(json.dumps(found, ensure_ascii=ensure_ascii).encode())
        assert _fate(in_json, BOOKS["assistants"]) == avro


@pytest.mark.parametrize(
    ("name", "schema", "times"),
    [("responses", "response", (1_717_200_000.5, None, -1.0)), ("langgraph", "langgraph_run", ("2024-06-01", "now"))],
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_an_object_of_the_other_profiles_is_the_same_event_as_json_and_as_avro(name, schema, times, data):
    """The model of each profile is held equal to the schema that ships for it."""
    profile = PROFILES[name]
    writer = WriterSchema(load_schema(schema).document, profile.shape)
    found = data.draw(runobjects.values(writer.document))
    [(run_id, *_), (created_at, *_)] = (profile.shape.paths[target] for target in ("id", "created_at"))
    odd = {run_id: data.draw(st.sampled_from(("run_1", "", "\n"))), created_at: data.draw(st.sampled_from(times))}
    found |= {**odd, "status": data.draw(st.sampled_from((*profile.statuses, "unheard_of", "")))}
    assume(all(map(math.isfinite, _numbers(found))))
    [in_avro] = runobjects.arrivals(writer.header + runobjects.encode(writer, found))
    [in_json] = runobjects.arrivals(json.dumps(found).encode())
    assert _fate(in_json, BOOKS[name]) == _fate(in_avro, BOOKS[name]) == _alone(in_avro, writer)


@pytest.mark.parametrize(("name", "values"), ODD.items(), ids=ODD)
def test_each_way_to_be_odd_is_refused_or_flagged_alike(name, values):
    """So that the property above does not hold for want of odd ones."""
    refused = {"id": "bad_run_id", "status": "bad_status"}
    for value in values:
        found = runobjects.run_object(**{name: value})
        [in_avro] = runobjects.arrivals(runobjects.framed("v2_1", found))
        [in_json] = runobjects.arrivals(json.dumps(found).encode())
        fate = _fate(in_avro, book_of(SCHEMAS["v2_1"]))
        assert _fate(in_json, BOOKS["assistants"]) == fate
        if name in refused:
            assert fate == refused[name]
        else:
            time = EventFlag.TIME_UNSET if name in TIMES and value < 0 else EventFlag.TIME_UNREADABLE
            assert fate.flags == ((time,) if name in TIMES else (EventFlag.NAME_OVER_LIMIT,))


@pytest.mark.parametrize("metadata", [7, True, "text", "", [], [1], [[1, 2, 3]], {"a": {"b": [1]}}, {"a": 1}])
@pytest.mark.parametrize("name", ["assistants_v2_1", "responses", "langgraph"])
def test_metadata_of_any_kind_strand_no_run(name, metadata):
    """JSON promises nothing; they are only ever counted, and flagged where they cannot be."""
    [first, *_] = load(name)
    [record] = _arrivals([first], [_json(first | {"metadata": metadata})])
    is_odd = METADATA in PROFILE_OF[name].shape.paths and not isinstance(metadata, dict)
    expected = structs.replace(_alike(_as_json(name)[0]), flags=(EventFlag.VALUE_UNREADABLE,) if is_odd else ())
    assert _fate(record, BOOKS[PROFILE_OF[name].name]) == expected


STUCK = {
    "assistants": {
        "queued": "StreamprocRunsStuckInQueued",
        "in_progress": "StreamprocRunsStuckInProgress",
        "requires_action": "StreamprocRunsStuckInRequiresAction",
        "cancelling": "StreamprocRunsStuckInCancelling",
    },
    "responses": {"queued": "StreamprocRunsStuckInQueued", "in_progress": "StreamprocRunsStuckInProgress"},
    "langgraph": {
        "pending": "StreamprocRunsStuckInPending",
        "running": "StreamprocRunsStuckInRunning",
        "interrupted": "StreamprocRunsStuckInInterrupted",
    },
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_each_status_that_may_last_has_an_alert_name(profile):
    assert {status: alert_name(f"stuck_{status}") for status in profile.documented} == STUCK[profile.name]
    assert set(profile.limits_s) <= set(profile.documented)


@each_fixture
def test_the_metrics_of_a_profile_know_its_statuses_and_parse(name):
    profile, events = PROFILE_OF[name], _as_json(name)
    state = State(Rules(profile, FOREVER, NO_DEADLINES))
    outcome = step(state, events[:-1], Moment(events[-1].timestamp, caught_up=False), begin(state))
    state.merge(outcome)
    metrics = watched_metrics(profile)
    metrics.committed(report(tally=outcome.tally, records=len(events) - 1))
    metrics.task_state(source(), TaskState.RUNNING)
    metrics.running(source(), state)
    for accept, parse in PARSERS:
        assert [*parse(exposed(metrics, accept))]
    assert label_values(metrics, "runs", "status") == {*profile.statuses, "other"}
    assert label_values(metrics, "run_transitions_total", "to") >= set(profile.statuses)
    assert label_values(metrics, "run_duration_seconds_count", "outcome") >= set(profile.outcomes.values())
    kinds = label_values(metrics, "runs_overdue", "kind")
    assert {f"stuck_{status}" for status in profile.documented} <= kinds
