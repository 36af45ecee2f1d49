"""The simulated source: deterministic, realistic, decodable, and honest about what it meant."""

import io
import itertools
import json
import struct
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from streamproc.core.model import Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from streamproc.local import chances
from streamproc.local.simulate import MAX_LIVE_RUNS, MIXED, VERSIONS, simulate
from streamproc.local.wire import BAD_VALUES

SEED = 1
START_MS = 1_717_200_000_000
MANY = 8_000  # records of the default version in which every outcome and quirk has to occur
FEW = 4_000  # for what is looked at in each version
LONG = 20_000  # for what is rare; not decoded, because that takes seconds
CALM = {"bad_ratio": 0, "duplicate_ratio": 0, "late_ratio": 0, "illegal_ratio": 0, "missed_ratio": 0}
TERMINAL = {"completed", "incomplete", "failed", "cancelled", "expired"}
STREAMS = (*VERSIONS, MIXED)


def _schema(version):
    path = Path(__file__).parents[2] / "schemas" / f"run_object_{version}.avsc"
    document = json.loads(path.read_text())
    header = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(document), "CRC-64-AVRO"))
    return header, fastavro.parse_schema(document)


SCHEMAS = dict(_schema(version) for version in VERSIONS)
VERSION_OF = {_schema(version)[0]: version for version in VERSIONS}


def _decode(value):
    buffer = io.BytesIO(value[10:])
    run = fastavro.schemaless_reader(buffer, SCHEMAS[value[:10]])
    assert not buffer.read(1), "bytes are left over"
    return run


@cache
def _stream(version="v2_1", *, calm=False):
    """The default stream of a version, decoded: pairs of record and RunObject, the bad ones with None."""
    number = MANY if version == "v2_1" else FEW
    events = simulate(seed=SEED, events=number, schema_version=version, start_ms=START_MS, **(CALM if calm else {}))
    return [(event, None if event.kind.startswith("bad:") else _decode(event.value)) for event in events]


@cache
def _histories(version="v2_1", *, calm=False):
    """The good records of each run, in the order of arrival."""
    histories = defaultdict(list)
    for event, run in _stream(version, calm=calm):
        if run is not None:
            histories[run["id"]].append((event, run))
    return histories


def _runs(version="v2_1", status=None):
    return [run for _, run in _stream(version) if run is not None and status in (None, run["status"])]


def _records(**options):
    defaults = {"seed": SEED, "events": MANY, "start_ms": START_MS}
    return list(simulate(**(defaults | options)))


# The same arguments, the same bytes


@pytest.mark.parametrize("version", STREAMS)
def test_same_seed_same_bytes(version):
    assert _records(events=3_000, schema_version=version) == _records(events=3_000, schema_version=version)


def test_a_longer_stream_begins_with_the_shorter_one():
    assert _records(events=3_000)[:1_000] == _records(events=1_000)


def test_another_seed_is_another_stream():
    ours, others = ({event.value for event in _records(seed=seed, events=1_000)} for seed in (1, 2))
    assert len(ours & others) <= 2, "nothing but empty values in common"


def test_bytes_do_not_depend_on_when_the_module_was_first_used():
    """Encoders keep what assistants repeat: one source must not leak into the next."""
    first = _records(events=500)
    _records(seed=7, events=500, schema_version=MIXED)
    assert _records(events=500) == first


def test_without_a_number_of_events_the_stream_has_no_end():
    assert len(list(itertools.islice(simulate(seed=SEED), 2_000))) == 2_000


# Encoding


@pytest.mark.parametrize("version", STREAMS)
def test_each_good_event_is_the_canonical_encoding_of_its_versions_schema(version):
    """It is put together from parts; encoding the decoded whole again must give the same bytes."""
    for event, run in _stream(version):
        if run is None:
            continue
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, SCHEMAS[event.value[:10]], run, strict=True)
        assert event.value[10:] == buffer.getvalue()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stream_of_one_version_holds_only_that_version(version):
    assert {VERSION_OF[event.value[:10]] for event, run in _stream(version) if run} == {version}


def test_a_mixed_stream_holds_every_version_in_its_share():
    stream = _records(events=LONG, schema_version=MIXED)
    counts = Counter(VERSION_OF[event.value[:10]] for event in stream if event.kind == "event")
    for version, percent in VERSIONS.items():
        assert counts[version] / counts.total() == pytest.approx(percent / 100, rel=0.15)


@pytest.mark.parametrize("version", STREAMS)
@pytest.mark.parametrize("seed", [1, 2])
def test_mean_size(version, seed):
    sizes = [len(event.value or b"") for event in _records(seed=seed, events=FEW, schema_version=version)]
    assert 800 <= sum(sizes) / len(sizes) <= 950


# Bad records


def test_every_kind_of_bad_record_occurs():
    kinds = {event.kind for event in _records(events=LONG) if event.kind.startswith("bad:")}
    assert kinds == {f"bad:{reason}" for reason in BAD_VALUES}


def _is_refused(value):
    """Whether a reader that knows the bundled schemas and no registry cannot take the value for a run."""
    if not value or value[:10] not in SCHEMAS:
        return True
    try:
        return not _decode(value)["id"]
    except (EOFError, ValueError, IndexError, AssertionError, OverflowError, struct.error):
        return True


@pytest.mark.parametrize("version", STREAMS)
def test_each_bad_record_is_bad_whatever_it_was_made_from(version):
    bad = [event for event in _records(schema_version=version, bad_ratio=0.1) if event.kind.startswith("bad:")]
    assert len(bad) > 500
    assert all(_is_refused(event.value) for event in bad)


def test_bad_records_look_as_their_reason_says():
    values = defaultdict(list)
    for event in _records(bad_ratio=0.1):
        values[event.kind].append(event.value)
    assert set(values["bad:null_value"]) == {None}
    assert set(values["bad:empty_value"]) == {b""}
    assert all(value[:1] not in (b"\x00", b"\xc3") for value in values["bad:unknown_magic"])
    assert all(value[:2] == b"\xc3\x01" and value[:10] not in SCHEMAS for value in values["bad:unknown_fingerprint"])
    assert all(value[:1] == b"\x00" for value in values["bad:unknown_schema_id"])
    assert all(_decode(value)["id"] == "" for value in values["bad:empty_run_id"])
    for reason in ("truncated", "garbage", "trailing_bytes"):
        assert all(value[:10] in SCHEMAS for value in values[f"bad:{reason}"])


# Life cycles


def _outcomes(version):
    return {run["status"] for run in _runs(version)} & TERMINAL


def test_every_outcome_occurs():
    assert _outcomes("v2_1") == TERMINAL


@pytest.mark.parametrize("version", ["v1", "v1_5", "v2"])
def test_versions_before_incomplete_end_otherwise(version):
    assert _outcomes(version) == TERMINAL - {"incomplete"}


def test_every_reason_to_fail_occurs_the_undocumented_one_too():
    codes = {run["last_error"]["code"] for run in _runs(status="failed")}
    assert codes == {"server_error", "rate_limit_exceeded", "invalid_prompt", "tool_user_error"}


def test_every_reason_to_stop_short_occurs_the_undocumented_one_too():
    reasons = {run["incomplete_details"]["reason"] for run in _runs(status="incomplete")}
    assert reasons == {"max_completion_tokens", "max_prompt_tokens", "content_filter"}


def _paths(version="v2_1"):
    return ["-".join(run["status"] for _, run in history) for history in _histories(version, calm=True).values()]


@pytest.mark.parametrize(
    "path",
    [
        "queued-in_progress-completed",
        "queued-in_progress-requires_action-queued-in_progress-completed",
        "queued-in_progress-requires_action-queued-in_progress-requires_action-queued-in_progress-completed",
        "queued-in_progress-cancelling-cancelled",
        "queued-in_progress-cancelling-completed",
        "queued-in_progress-failed",
        "queued-in_progress-incomplete",
        "queued-in_progress-paused-in_progress-completed",
        "requires_action-expired",
    ],
)
def test_path_occurs(path):
    assert path in _paths()


def test_some_runs_never_end_and_are_old_enough_to_be_late():
    end_ms = max(event.timestamp_ms for event, _ in _stream())
    lasts = [history[-1][1] for history in _histories(calm=True).values()]
    assert any(run["status"] not in TERMINAL and run["expires_at"] * 1000 < end_ms for run in lasts)


@pytest.mark.parametrize("version", STREAMS)
def test_without_disturbances_every_change_is_one_that_the_life_cycle_takes(version):
    """And a run that began within the stream begins as queued."""
    for history in _histories(version, calm=True).values():
        statuses = [run["status"] for _, run in history]
        assert all(ASSISTANTS.judge(*pair).verdict is Verdict.APPLIED for pair in itertools.pairwise(statuses))
        if history[0][1]["created_at"] * 1000 >= START_MS:
            assert statuses[0] == "queued"


def test_the_expected_number_of_events_of_a_run_is_what_comes_out():
    histories = _histories(calm=True).values()
    ended = [len(history) for history in histories if history[0][1]["status"] == "queued"]
    assert sum(ended) / len(ended) == pytest.approx(chances.expectation(chances.life_of("v2_1"))[0], rel=0.1)


# Quirks of real payloads (docs/domain.md 2)


def test_instructions_are_null_for_some():
    assert any(run["instructions"] is None for run in _runs())
    assert any(run["instructions"] for run in _runs())


def test_required_action_is_null_for_some_that_wait_and_for_all_that_do_not():
    waiting = [run["required_action"] for run in _runs(status="requires_action")]
    assert None in waiting
    assert sum(action is not None for action in waiting) > len(waiting) / 2
    assert all(run["required_action"] is None for run in _runs() if run["status"] != "requires_action")


def test_tool_calls_carry_arguments_that_are_json():
    actions = [run["required_action"] for run in _runs(status="requires_action") if run["required_action"]]
    calls = [action["submit_tool_outputs"]["tool_calls"] for action in actions]
    assert {len(some) for some in calls} == {1, 2}
    assert all(json.loads(call["function"]["arguments"]) for some in calls for call in some)


def test_usage_is_null_for_some_that_ended():
    usages = [run["usage"] for run in _runs(status="completed")]
    assert None in usages
    assert all(
        usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages if usage
    )


def test_usage_is_set_early_for_some_that_wait():
    assert {run["usage"] is None for run in _runs(status="requires_action")} == {True, False}


def test_the_created_event_is_followed_by_an_identical_queued_one():
    pairs = itertools.pairwise(_stream())
    assert any(
        first.value == second.value and second.kind == "duplicate" and run["status"] == "queued"
        for (first, run), (second, _) in pairs
        if run is not None
    )


def test_started_at_is_null_for_some_that_run():
    assert {run["started_at"] is None for run in _runs(status="in_progress")} == {True, False}


def test_started_at_moves_when_a_run_resumes():
    starts = [
        {run["started_at"] for _, run in history if run["status"] == "in_progress"}
        for history in _histories(calm=True).values()
    ]
    assert any(len(moments) > 1 for moments in starts)


@pytest.mark.parametrize("version", STREAMS)
def test_expires_at_is_ten_minutes_after_creation_then_null_once_terminal(version):
    for run in _runs(version):
        expected = None if run["status"] in TERMINAL else run["created_at"] + 600
        assert run["expires_at"] == expected


def test_incomplete_sets_completed_at():
    calm = [run for _, run in _stream(calm=True) if run["status"] == "incomplete"]
    assert calm
    assert all(run["completed_at"] is not None for run in calm)


def test_cancelled_at_is_set_at_cancelling_by_some():
    assert {run["cancelled_at"] is None for run in _runs(status="cancelling")} == {True, False}


def test_values_outside_the_documented_enums_occur():
    assert "bing_grounding" in {tool["type"] for run in _runs() for tool in run["tools"]}
    assert any(run["usage"]["prompt_token_details"] for run in _runs() if run["usage"])
    assert "paused" in {run["status"] for run in _runs()}


# Content


def test_twenty_assistants_and_eight_models_unevenly_used():
    assistants = Counter(run["assistant_id"] for run in _runs())
    models = Counter(run["model"] for run in _runs())
    assert (len(assistants), len(models)) == (20, 8)
    for counts in (assistants, models):
        assert max(counts.values()) > 5 * min(counts.values())


@pytest.mark.parametrize(("version", "tool"), [("v1", "retrieval"), ("v1_5", "retrieval"), ("v2", "file_search")])
def test_the_search_tool_has_its_versions_name(version, tool):
    types = {tool["type"] for run in _runs(version) for tool in run["tools"]}
    assert types & {"retrieval", "file_search"} == {tool}


def test_the_newest_version_uses_what_it_brought():
    runs = _runs("v2_1")
    assert "required" in {run["tool_choice"] for run in runs if isinstance(run["tool_choice"], str)}
    assert any(run["response_format"]["type"] == "json_schema" for run in runs if run["response_format"] != "auto")
    assert any(tool["file_search"] for run in runs for tool in run["tools"])


@pytest.mark.parametrize("version", STREAMS)
def test_ids_and_metadata_look_like_the_apis(version):
    for run in _runs(version)[:2_000]:
        assert run["object"] == "thread.run"
        for name, prefix in (("id", "run_"), ("thread_id", "thread_"), ("assistant_id", "asst_")):
            assert run[name].startswith(prefix)
            assert run[name].removeprefix(prefix).isalnum()
            assert len(run[name]) == len(prefix) + 24
        assert len(run["metadata"]) <= 16
        assert all(len(key) <= 64 and len(value) <= 512 for key, value in run["metadata"].items())


# Order, keys and times


def test_the_key_is_the_thread_of_the_run():
    assert all(event.key == run["thread_id"].encode() for event, run in _stream() if run)
    assert {event.key for event, run in _stream() if run is None} <= {event.key for event, run in _stream() if run}


def test_runs_of_a_thread_follow_each_other():
    """Without disturbances: once the next run of a thread has begun, the one before is heard of no more."""
    order = defaultdict(list)
    for event, run in _stream(calm=True):
        order[event.key].append(run["id"])
    changes = {key: [run_id for run_id, _ in itertools.groupby(ids)] for key, ids in order.items()}
    assert all(len(ids) == len(set(ids)) for ids in changes.values())
    assert any(len(ids) >= 3 for ids in changes.values())


@pytest.mark.parametrize("rate", [100, 20_000])
def test_hundreds_of_runs_are_live_at_once(rate):
    live, seen = set(), []
    for event in _records(rate_per_s=rate, **CALM):
        run = _decode(event.value)
        (live.discard if run["status"] in TERMINAL else live.add)(run["id"])
        seen.append(len(live))
    # Runs that wait for their expiry or never end come on top of the limit.
    assert 200 < seen[MANY // 2] < MAX_LIVE_RUNS * 1.5


def test_a_run_keeps_its_identity():
    for history in _histories().values():
        kept = ("thread_id", "assistant_id", "model", "created_at", "instructions", "tools", "metadata")
        assert all(run[name] == history[0][1][name] for _, run in history for name in kept)


def test_timestamps_start_where_asked_and_never_decrease_but_for_late_records():
    stream = _records(start_ms=1_720_000_000_123)
    stamps = [event.timestamp_ms for event in stream if event.kind != "late"]
    assert stamps[0] == 1_720_000_000_123
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("rate", [20, 100, 5_000])
def test_timestamps_are_spaced_by_the_rate(rate):
    stream = _records(rate_per_s=rate, events=LONG)
    seconds = (stream[-1].timestamp_ms - stream[0].timestamp_ms) / 1000
    assert len(stream) / seconds == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("rate", [100, 20_000])
def test_times_of_the_run_agree_with_the_timestamps(rate):
    entered = {
        "completed": "completed_at",
        "incomplete": "completed_at",
        "failed": "failed_at",
        "cancelled": "cancelled_at",
    }
    for event in _records(rate_per_s=rate, **CALM):
        run, now = _decode(event.value), event.timestamp_ms // 1000
        if run["status"] in entered:
            assert run[entered[run["status"]]] == now
        times = ("created_at", "started_at", "completed_at", "failed_at", "cancelled_at")
        assert all(run[name] <= now for name in times if run[name] is not None)
        assert run["started_at"] is None or run["started_at"] >= run["created_at"]
        if run["status"] == "expired":
            assert run["created_at"] + 600 <= now


# Disturbances: the kind is what the source meant


def test_ratios_are_shares_of_all_records():
    ratios = {"bad": 0.03, "duplicate": 0.1, "late": 0.05, "illegal": 0.01}
    stream = _records(events=LONG, **{f"{kind}_ratio": ratio for kind, ratio in ratios.items()})
    counts = Counter(event.kind.partition(":")[0] for event in stream)
    for kind, ratio in ratios.items():
        assert counts[kind] / len(stream) == pytest.approx(ratio, rel=0.1)


def test_default_ratios_are_small():
    counts = Counter(event.kind.partition(":")[0] for event in _records(events=LONG))
    expected = {"bad": 0.002, "duplicate": 0.02, "late": 0.005, "illegal": 0.0005}
    for kind, ratio in expected.items():
        mean = LONG * ratio
        assert counts[kind] == pytest.approx(mean, abs=3 * mean**0.5), "within three standard deviations"


def test_ratios_of_zero_leave_nothing_but_events():
    assert {event.kind for event, _ in _stream(calm=True)} == {"event"}


def test_missed_events_leave_gaps():
    def first_seen_running(stream):
        seen = set()
        for event in stream:
            run = _decode(event.value)
            if run["id"] not in seen and run["status"] == "in_progress":
                return True
            seen.add(run["id"])
        return False

    assert first_seen_running(_records(**(CALM | {"missed_ratio": 0.05})))
    assert not first_seen_running(_records(**CALM))


def test_a_duplicate_repeats_bytes_that_came_before():
    seen = set()
    for event, _ in _stream():
        if event.kind == "duplicate":
            assert (event.key, event.value) in seen
        seen.add((event.key, event.value))


def test_a_late_record_is_an_open_status_that_comes_after_a_later_one_of_its_run():
    newest = {}
    found = 0
    for event, run in _stream():
        if run is None:
            continue
        if event.kind == "late":
            assert run["status"] not in TERMINAL
            assert event.timestamp_ms <= newest[run["id"]]
            found += 1
        newest[run["id"]] = max(event.timestamp_ms, newest.get(run["id"], 0))
    assert found


def test_an_illegal_record_is_another_end_of_a_run_that_has_ended():
    ends = {}
    for event, run in _stream():
        if run is None or run["status"] not in TERMINAL:
            continue
        if event.kind == "illegal":
            assert run["status"] != ends[run["id"]]
        else:
            assert ends.get(run["id"], run["status"]) == run["status"]
        ends.setdefault(run["id"], run["status"])


def test_as_many_assistants_as_asked_for_each_on_as_many_models():
    stream = simulate(seed=SEED, events=MANY, assistants=5, models_each=3, **CALM)
    models = defaultdict(set)
    for event in stream:
        run = _decode(event.value)
        models[run["assistant_id"]].add(run["model"])
    assert [len(each) for each in models.values()] == [3] * 5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_opening_brings_what_is_rare_soon(seed):
    """Rule: bad records, contradictory ends and a forgotten call for tools, the same ones for the same seed."""
    opened = {"seed": seed, "events": 2_000, "rate_per_s": 200, **CALM, "opening": True}
    stream = _records(**opened)
    assert stream == _records(**opened)
    kinds = Counter(event.kind.partition(":")[0] for event in stream)
    assert (kinds["bad"], kinds["illegal"]) == (3, 2)
    latest = {run["id"]: run for run in (_decode(event.value) for event in stream if event.kind == "event")}
    assert any(
        run["status"] == "requires_action" and run["expires_at"] * 1000 < START_MS + 13_000 for run in latest.values()
    )


# Arguments at the ends of their range, and out of it


@pytest.mark.parametrize("kind", ["bad", "duplicate", "late", "illegal", "missed"])
@pytest.mark.parametrize("rate", [0.01, 1_000_000])
@pytest.mark.parametrize("version", ["v1", MIXED])
def test_much_of_one_disturbance_at_any_rate(kind, rate, version):
    stream = _records(events=FEW, schema_version=version, rate_per_s=rate, **{f"{kind}_ratio": 0.4})
    assert len(stream) == FEW
    assert any(event.kind.startswith(kind) for event in stream) or kind == "missed"


@pytest.mark.parametrize(
    "options",
    [
        {"schema_version": "v3"},
        {"rate_per_s": 0},
        {"rate_per_s": float("nan")},
        {"bad_ratio": -0.1},
        {"bad_ratio": float("nan")},
        {"bad_ratio": 0.3, "late_ratio": 0.3},
        {"assistants": 0},
        {"models_each": 9},
    ],
)
def test_an_argument_out_of_range_is_refused_before_the_first_record(options):
    with pytest.raises(ConfigError):
        simulate(seed=SEED, **options)
