"""What decodes, and what is decided about it: rejected, or taken and flagged. Both decoders decide alike."""

import json

import pytest
from msgspec import structs

from streamproc.codec.arrival import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_TOOL_CHARS,
    MAX_TOOLS,
    MAX_TOOLS_CHARS,
    METADATA_OVER_LIMIT,
    NAME_OVER_LIMIT,
    TOOLS_OVER_LIMIT,
    VALUE_UNREADABLE,
    Framed,
)
from streamproc.codec.decode import decode
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.sizes import batch_bytes
from streamproc.codec.vet import MAX_DEPTH, MAX_FIELDS, MAX_SCHEMA_BYTES
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Moment, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.core.shape import TIMES, TOKENS
from streamproc.core.state import State
from streamproc.core.step import begin, step
from streamproc.core.tally import Tally
from streamproc.errors import RecordRejected
from streamproc.runtime.topics import ENVELOPE_BYTES
from tests.support.books import book_of, bundled_book
from tests.support.oddschemas import dangers
from tests.support.oracle import FOREVER, NO_DEADLINES
from tests.support.runobjects import SCHEMAS, START_MS, arrivals, encode, run_object

V2_1 = SCHEMAS["v2_1"]


def _calls(*names):
    calls = [{"id": "", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}


def _fates(**fields):
    """What the three ways of decoding make of a RunObject: an event, or a reason."""
    found = run_object(**fields)
    values = (V2_1.header + encode(V2_1, found), json.dumps(found).encode())
    records = arrivals(*values)
    fates = []
    for record in records:
        decoded = decode([record], bundled_book())
        fates.append(decoded.events[0] if decoded.events else decoded.rejections[0].reason)
    try:
        fates.append(decode_one(Framed(records[0], values[0][len(V2_1.header) :]), V2_1))
    except RecordRejected as error:
        fates.append(error.reason)
    return fates


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": "run\x001"}, "bad_run_id"),
        ({"id": "run\n1"}, "bad_run_id"),
        ({"id": "\x1b[2Jrun"}, "bad_run_id"),
        ({"id": "run\u202e1"}, "bad_run_id"),
        ({"id": "run\u20281"}, "bad_run_id"),
        ({"status": "queued\x85"}, "bad_status"),
        ({"status": "\x7f"}, "bad_status"),
    ],
)
def test_ids_and_statuses_that_are_no_text_are_rejected(fields, reason):
    """They are keys, labels and lines."""
    assert _fates(**fields) == [reason] * 3


@pytest.mark.parametrize(
    ("fields", "name", "kept"),
    [
        ({"thread_id": "t" * (MAX_NAME_CHARS + 1)}, "thread_id", "t" * MAX_NAME_CHARS),
        ({"assistant_id": "é" * (MAX_NAME_CHARS + 1)}, "assistant_id", "é" * MAX_NAME_CHARS),
        ({"model": "m" * 100_000}, "model", "m" * MAX_NAME_CHARS),
        ({"last_error": {"code": "🦀" * 2_000, "message": None}}, "error_code", "🦀" * MAX_NAME_CHARS),
        ({"required_action": _calls("a", "n" * 10**5)}, "required_tools", ("a", "n" * MAX_TOOL_CHARS)),
    ],
)
def test_names_without_end_are_cut_and_flagged(fields, name, kept):
    """They are kept with the run and go out with each of its changes."""
    assert [(getattr(event, name), event.flags) for event in _fates(**fields)] == [(kept, (NAME_OVER_LIMIT,))] * 3


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "läuft-日本-🦀"},
        {"id": "a b\u00a0c"},
        {"thread_id": "é" * MAX_NAME_CHARS},
        {"required_action": _calls("é" * MAX_TOOL_CHARS)},
        {"thread_id": "odd\nbut not the id"},
    ],
)
def test_text_in_any_script_up_to_the_limits_is_taken(fields):
    for event in _fates(**fields):
        assert event.flags == ()


@pytest.mark.parametrize(
    ("metadata", "flags"),
    [
        ({f"k{n}": "v" for n in range(16)}, ()),
        ({f"k{n}": "v" for n in range(17)}, (METADATA_OVER_LIMIT,)),
        ({"k" * 64: "v" * 512}, ()),
        ({"é" * 64: "é" * 512}, ()),
        ({"k" * 65: "v"}, (METADATA_OVER_LIMIT,)),
        ({"k": "v" * 513}, (METADATA_OVER_LIMIT,)),
        ({}, ()),
        (None, ()),
    ],
)
def test_metadata_over_its_limits_is_flagged_and_the_run_goes_on(metadata, flags):
    """domain.md 1 has the limits. A run must not be stranded because its metadata is too long."""
    assert [event.flags for event in _fates(metadata=metadata)] == [flags] * 3


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": ["null", "string"]},
        {"type": "map", "values": {"type": "string", "avro.java.string": "String"}},
        {"type": "map", "values": ["string", "long"]},
        {"type": "map", "values": "bytes"},
        ["null", {"type": "map", "values": "string"}, "string"],
    ],
)
def test_metadata_in_any_map_are_counted(kind):
    fields = [{"name": name, "type": "string"} for name in ("id", "status")]
    document = {"type": "record", "name": "Mine", "fields": [*fields, {"name": "metadata", "type": kind}]}
    schema = WriterSchema(document, ASSISTANTS.shape)
    value = b"v" if "bytes" in str(kind) else "v"
    for pairs, flagged in ((16, ()), (17, (METADATA_OVER_LIMIT,))):
        payload = encode(schema, {"id": "r", "status": "s", "metadata": {f"k{n}": value for n in range(pairs)}})
        [record] = arrivals(schema.header + payload)
        [event] = decode([record], book_of(schema)).events
        assert event.flags == decode_one(Framed(record, payload), schema).flags == flagged


@pytest.mark.parametrize("other", ["string", "long", "boolean", {"type": "array", "items": "string"}])
@pytest.mark.parametrize("has_map", [False, True], ids=["record", "record or map"])
def test_what_is_no_metadata_beside_a_record_is_flagged(other, has_map):
    """As it is anywhere else, and the run goes on; the record itself is in order."""
    pairs = {"type": "record", "name": "Pairs", "fields": [{"name": "team", "type": "string"}]}
    kind = ["null", pairs, *([{"type": "map", "values": "string"}] if has_map else []), other]
    fields = [{"name": name, "type": "string"} for name in ("id", "status")]
    document = {"type": "record", "name": "Mine", "fields": [*fields, {"name": "metadata", "type": kind}]}
    schema = WriterSchema(document, ASSISTANTS.shape)
    unreadable = {"string": "a", "long": 7, "boolean": True}.get(str(other), ["a"])
    cases = [(None, ()), ({"team": "a"}, ()), (unreadable, (VALUE_UNREADABLE,))]
    for value, flagged in cases:
        payload = encode(schema, {"id": "r", "status": "s", "metadata": value})
        [record] = arrivals(schema.header + payload)
        [event] = decode([record], book_of(schema)).events
        assert event.flags == decode_one(Framed(record, payload), schema).flags == flagged


def test_a_key_of_metadata_that_stands_twice_counts_once_for_both_decoders():
    """Found by fuzzing: a map's encoding may have it, a dict may not."""
    payload = encode(V2_1, run_object(metadata={f"k{n:02}": "v" for n in range(17)})).replace(b"k16", b"k15")
    [record] = arrivals(V2_1.header + payload)
    assert decode([record], bundled_book()).events == [decode_one(Framed(record, payload), V2_1)]
    assert decode_one(Framed(record, payload), V2_1).flags == ()


def test_a_block_of_the_least_long_is_nothing_to_both_decoders():
    """Found by fuzzing: its opposite, which is how many items there are, has no room in a long."""
    payload = encode(V2_1, run_object(tools=[]))
    at = next(at for at in range(len(payload)) if _with_least_long(payload, at) is not None)
    payload = _with_least_long(payload, at)
    [record] = arrivals(V2_1.header + payload)
    assert decode([record], bundled_book()).events == [decode_one(Framed(record, payload), V2_1)]


def _with_least_long(payload, at):
    """A payload with such a block, of a size of no bytes, in front of the end of a list; None where there is none."""
    changed = payload[:at] + b"\xff" * 9 + b"\x01\x00" + payload[at:]
    try:
        decode_one(Framed(arrivals(V2_1.header + changed)[0], changed), V2_1)
    except RecordRejected:
        return None
    return changed if payload[at : at + 1] == b"\x00" else None


@pytest.mark.parametrize("count", [MAX_TOOLS, MAX_TOOLS + 1])
def test_more_required_tools_than_are_kept_are_flagged(count):
    events = _fates(required_action=_calls(*(f"f{n}" for n in range(count))))
    flags = (TOOLS_OVER_LIMIT,) if count > MAX_TOOLS else ()
    assert [(len(event.required_tools), event.flags) for event in events] == [(MAX_TOOLS, flags)] * 3


@pytest.mark.parametrize(
    ("size", "count", "kept", "flags"),
    [
        (MAX_TOOL_CHARS, MAX_TOOLS_CHARS // MAX_TOOL_CHARS, MAX_TOOLS_CHARS // MAX_TOOL_CHARS, ()),
        (MAX_TOOL_CHARS, MAX_TOOLS, MAX_TOOLS_CHARS // MAX_TOOL_CHARS, (TOOLS_OVER_LIMIT,)),
        (MAX_TOOLS_CHARS // MAX_TOOLS, MAX_TOOLS, MAX_TOOLS, ()),
        (MAX_TOOLS_CHARS // MAX_TOOLS + 1, MAX_TOOLS, MAX_TOOLS - 2, (TOOLS_OVER_LIMIT,)),
    ],
)
def test_the_names_of_required_tools_have_a_limit_together(size, count, kept, flags):
    events = _fates(required_action=_calls(*(f"{n:03}".ljust(size, "é") for n in range(count))))
    assert [(len(event.required_tools), event.flags) for event in events] == [(kept, flags)] * 3


def test_the_largest_state_of_a_run_fits_beside_the_largest_record():
    """rules.md 10: whatever a producer writes, the record that keeps it is one that the state topic admits."""
    wide, most = "🦀", 1_048_576
    event = run_object(
        id=wide * MAX_ID_CHARS,
        status="completed",
        **dict.fromkeys(("thread_id", "assistant_id", "model"), wide * 2000),
        **dict.fromkeys(TIMES, 253402300799),
        last_error={"code": wide * 2_000, "message": None},
        required_action=_calls(*(wide * 300 for _ in range(200))),
        usage=dict.fromkeys(TOKENS, 2**63 - 1),
        instructions="",
    )
    room = most - len(V2_1.header + encode(V2_1, event)) - 3
    value = V2_1.header + encode(V2_1, event | {"instructions": "i" * room})
    assert most - 4 <= len(value) <= most
    [found] = decode(arrivals(value), bundled_book()).events
    assert found.flags == (TOOLS_OVER_LIMIT, NAME_OVER_LIMIT)
    assert sum(map(len, found.required_tools)) == MAX_TOOLS_CHARS
    state = State(Rules(ASSISTANTS, FOREVER, NO_DEADLINES))
    [run] = step(state, [found], Moment(START_MS, caught_up=False), begin(state)).runs.values()
    assert run is not None
    ends = [f"illegal:{run.run_id}:{run.status}:{status}:{2**63 - 1}" for status in ASSISTANTS.outcomes]
    due = [f"{kind}:{run.run_id}:{2**63 - 1}" for kind in ("overdue", "stuck_requires_action")]
    largest = structs.replace(run, alerts=(*ends, *due))
    encoder = OutputEncoder(OutputSource("a" * 100, "t" * 249, 2**31 - 1))
    [(key, state_value, _, headers)] = encoder.states([largest], 2**45)
    assert batch_bytes(key, state_value, headers) <= most + ENVELOPE_BYTES


def test_what_is_flagged_is_counted_as_an_anomaly():
    [event, *_] = _fates(metadata={"k": "v" * 513})
    tally = Tally()
    tally.arrival(event, Verdict.APPLIED, ASSISTANTS)
    assert tally.anomalies[METADATA_OVER_LIMIT] == 1
    assert isinstance(ASSISTANTS, Profile)


# Schemas


def _with(extra):
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}, {"name": "x", "type": extra}]
    return {"type": "record", "name": "Mine", "fields": fields}


def _deep(levels):
    schema = "long"
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def _wide(fields):
    return {"type": "record", "name": "W", "fields": [{"name": f"f{n}", "type": "long"} for n in range(fields)]}


@pytest.mark.parametrize(
    ("extra", "danger"),
    [
        (_deep(MAX_DEPTH), "nested deeper"),
        (_wide(MAX_FIELDS + 1), "more than 2,000 fields"),
        ({"type": "enum", "name": "E", "symbols": [f"s{n}" * 40 for n in range(2_000)]}, "262,144 bytes"),
        ({"type": "map", "values": "null"}, "take no bytes"),
    ],
)
def test_a_schema_over_a_limit_is_refused_when_it_is_loaded(extra, danger):
    with pytest.raises(RecordRejected, match=danger):
        WriterSchema(_with(extra), ASSISTANTS.shape)


def test_schemas_within_the_limits_are_taken():
    for extra in (_deep(MAX_DEPTH - 2), _wide(MAX_FIELDS)):
        assert not dangers(_with(extra))
    assert len(json.dumps(_with(_wide(MAX_FIELDS)))) < MAX_SCHEMA_BYTES
