"""Payloads made to use up memory or time, each of at most a megabyte, decoded in a process of their own.

`python -m tests.support.killers NAME DECODER` decodes one and prints what it took as JSON. Without arguments it does
so for each line `NAME<tab>DECODER` of its input, in a fork of itself: what costs half a second is imported once.
"""

import atexit
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from streamproc.codec.arrival import Framed
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.framing import JSON
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.skim import MAX_VALUES
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import RecordRejected
from tests.support.books import book_of, bundled_book
from tests.support.runobjects import SCHEMAS, Arrived, framed, long, run_object

MEBIBYTE = 1 << 20
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Of Linux: see proc(5)."""
CHILD_S = 60
ROUNDS = 3
V1, V2_1 = SCHEMAS["v1"], SCHEMAS["v2_1"]
TOOLS_EMPTY = framed("v2_1", run_object(instructions="iiii")).index(b"iiii") + 4
"""Where v2.1 counts its tools."""
CALLS = framed("v2_1", run_object(required_action={"type": "t", "submit_tool_outputs": {"tool_calls": []}}))
CALLS_EMPTY = CALLS.index(b"\x02t\x02\x00") + 3
METADATA = framed("v2_1", run_object(metadata={}))
"""With a branch and a count of nothing behind the tools' own."""


def _with(value: bytes, at: int, inside: bytes) -> bytes:
    """Return a value with the empty list at `at` replaced."""
    return value[:at] + inside + value[at + 1 :]


def _items(item: bytes, size: int = MEBIBYTE - 2_000) -> bytes:
    """Return a list of so many items as fit."""
    count = size // len(item)
    return long(count) + item * count + b"\x00"


def _tools(item: bytes) -> bytes:
    value = framed("v2_1", run_object(instructions="iiii"))
    return _with(value, TOOLS_EMPTY, _items(item))


def _metadata(pair: bytes) -> bytes:
    return _with(METADATA, TOOLS_EMPTY_METADATA, _items(pair))


def _calls(item: bytes) -> bytes:
    """Return JSON with a megabyte of tool calls."""
    calls = b",".join([item] * ((MEBIBYTE - 500) // (len(item) + 1)))
    return b'{"id":"run_1","status":"queued","required_action":{"submit_tool_outputs":{"tool_calls":[' + calls + b"]}}}"


def _most(item: bytes, values: int) -> bytes:
    """Return a list of the most items that are taken, of so many values each; an item is a byte for each value."""
    count = (MAX_VALUES - 200) // values
    return long(count) + item * count + b"\x00"


def _file_ids(count: bytes) -> bytes:
    good = framed("v1", run_object(file_ids=["one"]))
    at = good.index(b"\x06one") - 1
    return good[:at] + count + good[at + 1 :]


def _metadata_at() -> int:
    plain = framed("v2_1", run_object())
    # The first byte that differs is the branch of the metadata; its count follows.
    return next(at for at, (a, b) in enumerate(zip(plain, METADATA, strict=False)) if a != b) + 1


TOOLS_EMPTY_METADATA = _metadata_at()


def _json(inside: bytes) -> bytes:
    return b'{"id":"run_1","status":"queued","x":' + inside + b"}"


KILLERS: Mapping[str, Callable[[], bytes]] = {
    "a megabyte of empty tools": lambda: _tools(b"\x00\x00\x00"),
    "a megabyte of tools with nothing but a function": lambda: _tools(b"\x00\x02\x00\x00\x00\x00\x00"),
    "a megabyte of tool calls": lambda: _with(CALLS, CALLS_EMPTY, _items(b"\x00\x00\x00\x00")),
    "a megabyte of empty metadata pairs": lambda: _metadata(b"\x00\x00"),
    "a megabyte of empty texts": lambda: _file_ids(_items(b"\x00")[:-1]),
    "as many empty tools as are taken": lambda: _with(
        framed("v2_1", run_object(instructions="iiii")), TOOLS_EMPTY, _most(b"\x00\x00\x00", 4)
    ),
    "as many tool calls as are taken": lambda: _with(CALLS, CALLS_EMPTY, _most(b"\x00\x00\x00\x00", 6)),
    "as many empty metadata pairs as are taken": lambda: _with(METADATA, TOOLS_EMPTY_METADATA, _most(b"\x00\x00", 2)),
    "blocks of one item each": lambda: _file_ids((long(1) + b"\x00") * (MEBIBYTE // 2 - 500)),
    "a text of 2**62 bytes": lambda: framed("v2_1", run_object(id="qq")).replace(b"\x04qq", long(2**62) + b"qq"),
    "a text of minus 2**62 bytes": lambda: framed("v2_1", run_object(id="qq")).replace(b"\x04qq", long(-(2**62))),
    "2**62 items": lambda: _file_ids(long(2**62)),
    "minus 2**63 items": lambda: _file_ids(long(-(2**63)) + long(2**62)),
    "2**62 items in a block of negative size": lambda: _file_ids(long(-(2**62)) + long(-(2**62))),
    "a megabyte of one text": lambda: framed("v2_1", run_object(instructions="i" * (MEBIBYTE - 1_000))),
    "a megabyte of one tool's name": lambda: framed(
        "v2_1",
        run_object(
            required_action={
                "type": "t",
                "submit_tool_outputs": {
                    "tool_calls": [{"id": "", "type": "", "function": {"name": "n" * 10**6, "arguments": ""}}]
                },
            }
        ),
    ),
    "a thread's id of a megabyte that is no UTF-8": lambda: framed(
        "v2_1", run_object(thread_id="x" * (MEBIBYTE - 1_000))
    ).replace(b"x" * (MEBIBYTE - 1_000), b"\xff" * (MEBIBYTE - 1_000)),
    "a thread's id of a megabyte that is no UTF-8, in JSON": lambda: (
        b'{"id":"run_1","status":"queued","thread_id":"' + b"\xff" * 10**6 + b'"}'
    ),
    "a run's id of a megabyte that is no UTF-8, in JSON": lambda: (
        b'{"id":"' + b"\xff" * 10**6 + b'","status":"queued"}'
    ),
    "brackets of JSON": lambda: _json(b"[" * (MEBIBYTE - 200)),
    "deep but closed JSON": lambda: _json(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a megabyte of empty JSON objects": lambda: _json(b"[" + b"{}," * (MEBIBYTE // 3 - 200) + b"{}]"),
    "a megabyte of JSON keys": lambda: (
        b'{"id":"run_1","status":"queued",' + b",".join(b'"%x":1' % n for n in range(90_000)) + b"}"
    ),
    "JSON metadata of a megabyte": lambda: (
        b'{"id":"run_1","status":"queued","metadata":{' + b",".join(b'"%x":""' % n for n in range(90_000)) + b"}}"
    ),
    "JSON metadata of a megabyte, as a list": lambda: (
        b'{"id":"run_1","status":"queued","metadata":[' + b",".join([b'{"":0}'] * 140_000) + b"]}"
    ),
    "a megabyte of JSON tool calls that are numbers": lambda: _calls(b"1"),
    "a megabyte of JSON tool calls that are empty": lambda: _calls(b"{}"),
    "a megabyte of JSON functions that are numbers": lambda: _calls(b'{"function":1}'),
    "as many JSON tool calls as are taken": lambda: _calls(b'{"function":{"name":"%s"}}' % (b"n" * 92)),
    "a megabyte of quotes in JSON": lambda: _json(b'"' + b'\\"' * (MEBIBYTE // 2 - 200)),
    "a megabyte of commas in a JSON text": lambda: _json(b'"' + b"," * (MEBIBYTE - 200) + b'"'),
    "a megabyte of JSON that is hardly a text": lambda: _json(
        b'"' + b"\xf0\x9f\xed\xa0" * (MEBIBYTE // 4 - 200) + b'"'
    ),
    "JSON that is nested as deeply as is taken": lambda: _json(
        b"[" + b",".join([b"[" * 198 + b"]" * 198] * 145 + [b'"' + b"[" * 9 * 10**5 + b'"']) + b"]"
    ),
    "a JSON number of a megabyte": lambda: b'{"id":"run_1","status":"queued","created_at":' + b"9" * 10**6 + b"}",
    "a JSON number with a great exponent": lambda: b'{"id":"run_1","status":"queued","created_at":1e308}',
}


ID_AND_STATUS = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]
EMPTY = {"type": "record", "name": "Empty", "fields": []}
NULLS = {"type": "record", "name": "Nulls", "fields": [{"name": f"n{n}", "type": "null"} for n in range(1_000)]}


def _nested(levels: int) -> Any:
    schema: Any = {"type": "record", "name": "Innermost", "fields": [{"name": "a", "type": "boolean"}]}
    for level in range(levels):
        schema = {"type": "record", "name": f"R{level}", "fields": [{"name": "a", "type": schema}]}
    return schema


SCHEMA_KILLERS: Mapping[str, tuple[Any, bytes]] = {
    "a record within itself": ("RunObject", b"\x00\x00" * 2_000),
    "many of a record within itself": (
        {"type": "record", "name": "A", "fields": [{"name": f"a{n}", "type": "A"} for n in range(100)]},
        b"\x00",
    ),
    "items of nulls": ({"type": "array", "items": "null"}, long(30_000_000) + b"\x00"),
    "items of empty records": ({"type": "array", "items": EMPTY}, long(30_000_000) + b"\x00"),
    "items of nothing fixed": (
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
        long(30_000_000) + b"\x00",
    ),
    "a map of nulls": ({"type": "map", "values": "null"}, long(500_000) + b"\x00" * 500_001),
    "records nested 5,000 times": (_nested(5_000), b"\x01"),
}
"""The type of a third field, and its payload: refused for the schema."""
RECURSIVE_KILLERS: Mapping[str, tuple[Any, bytes]] = {
    "a record within itself, or null": (["null", "RunObject"], b"\x02\x00\x00" * 300_000),
    "a list of itself": ({"type": "array", "items": "RunObject"}, b"\x02\x00\x00" * 300_000),
    "a union within itself": (
        {"type": "record", "name": "A", "fields": [{"name": "b", "type": [{"type": "array", "items": "A"}, "null"]}]},
        b"\x00\x02" * 500_000,
    ),
    "a list of lists that end soon": (
        {"type": "record", "name": "A", "fields": [{"name": "as", "type": {"type": "array", "items": "A"}}]},
        long(500_000) + b"\x00" * 500_001,
    ),
}
"""The same, of schemas that are none to refuse: refused for the payload."""


def _wide(fields: int) -> Any:
    """Return a list of wide records that may be null: a byte then."""
    inside = [{"name": f"a{n}", "type": "long"} for n in range(fields)]
    return {"type": "array", "items": ["null", {"type": "record", "name": "Wide", "fields": inside}]}


def _enums(count: int) -> Any:
    return {"type": "array", "items": [{"type": "enum", "name": f"E{n}", "symbols": ["a"]} for n in range(count)]}


WIDE_KILLERS: Mapping[str, tuple[Any, bytes]] = {
    "items of a thousand nulls": ({"type": "array", "items": ["null", NULLS]}, long(8_000) + b"\x02" * 8_000 + b"\x00"),
    "records nested 20 times": ({"type": "array", "items": _nested(20)}, long(8_000) + b"\x01" * 8_000 + b"\x00"),
    "nulls that stand for 1,990 fields": (_wide(1_990), long(29_000) + b"\x00" * 29_001),
    "nulls that stand for 400 fields": (_wide(400), long(29_000) + b"\x00" * 29_001),
    "few nulls that stand for 400 fields": (_wide(400), long(4_000) + b"\x00" * 4_001),
    "a union of 1,990 types": (_enums(1_990), long(14_000) + b"\x00\x00" * 14_000 + b"\x00"),
    "a few of a union of 400 types": (_enums(400), long(500) + b"\x00\x00" * 500 + b"\x00"),
}
"""The same, of schemas that are none to refuse."""


@cache
def run_killer(name: str, decoder: str) -> dict[str, Any]:
    """Decode it in a child process; return its report. Raises CalledProcessError where the child died."""
    parent = _parent()
    assert parent.stdin
    assert parent.stdout
    parent.stdin.write(f"{name}\t{decoder}\n".encode())
    if not select.select([parent.stdout], [], [], CHILD_S)[0]:
        os.killpg(parent.pid, signal.SIGKILL)
        _parent.cache_clear()
        raise subprocess.TimeoutExpired(name, CHILD_S)
    answer: dict[str, Any] = json.loads(parent.stdout.readline())
    if answer["status"]:
        raise subprocess.CalledProcessError(answer["status"], name, answer["said"])
    report: dict[str, Any] = json.loads(answer["said"])
    return report


@cache
def _parent() -> "subprocess.Popen[bytes]":
    """Return the process whose forks decode; it ends with its input, thus with this process."""
    command = [sys.executable, "-m", "tests.support.killers"]
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        command, cwd=root, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    atexit.register(parent.communicate)
    return parent


def _bring_up() -> None:
    """Decode what the input names, each in a fork, and print a line for each: what it said, and how it ended."""
    for line in sys.stdin:
        out, into = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(into, sys.stdout.fileno())
            os._exit(_ended(*line.rstrip("\n").split("\t")))
        os.close(into)
        with os.fdopen(out) as said:
            answer = {"said": said.read(), "status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
        print(json.dumps(answer), flush=True)


def _ended(name: str, decoder: str) -> int:
    try:
        _main(name, decoder)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - a fork must not go on with what its parent does
        traceback.print_exc()
        return 1
    return 0


def _reference(value: bytes) -> str:
    schema = V1 if value.startswith(V1.header) else V2_1
    try:
        decode_one(Framed(Arrived(0, value), value[len(schema.header) :]), schema)
    except RecordRejected as error:
        return error.reason
    return "taken"


def _batch(value: bytes, book: SchemaBook | None = None) -> str:
    decoded = decode([Arrived(0, value)], book or bundled_book())
    return decoded.rejections[0].reason if decoded.rejections else "taken"


def _schema_killer(extra: Any, payload: bytes) -> dict[str, Any]:
    _batch(framed("v2_1", run_object()))
    _forget_peak()
    before = _peak_bytes()
    began = time.process_time()
    document = {
        "type": "record",
        "name": "RunObject",
        "fields": [*ID_AND_STATUS, {"name": "extra", "type": extra}],
    }
    try:
        schema = WriterSchema(document, ASSISTANTS.shape)
        _batch(schema.header + b"\x02r\x02s\x00", book_of(schema))
        began = time.process_time()
        result = _batch(schema.header + b"\x02r\x02s" + payload, book_of(schema))
    except RecordRejected as error:
        result = error.reason
    took = time.process_time() - began
    return {"result": result, "grew_mib": (_peak_bytes() - before) / MEBIBYTE, "seconds": took}


def _forget_peak() -> None:
    """Let the peak begin anew: until here it is that of the imports, and would hide what comes."""
    CLEAR_REFS.write_text("5")


def _peak_bytes() -> int:
    # Not ru_maxrss: a child inherits its parent's.
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) * 1024


def _main(name: str, decoder: str) -> None:
    if made := {**SCHEMA_KILLERS, **RECURSIVE_KILLERS, **WIDE_KILLERS}.get(name):
        print(json.dumps(_schema_killer(*made)))
        return
    run = _reference if decoder == "reference" else _batch
    run(framed("v1", run_object()))
    run(framed("v2_1", run_object()))
    _batch(b'{"id":"a","status":"b"}')
    value = KILLERS[name]()
    assert len(value) <= MEBIBYTE
    _forget_peak()
    before, took, result = _peak_bytes(), [], ""
    for _ in range(ROUNDS):
        began = time.process_time()
        result = run(value)
        took.append(time.process_time() - began)
    report = {"result": result, "grew_mib": (_peak_bytes() - before) / MEBIBYTE, "seconds": min(took)}
    print(json.dumps({**report, "bytes": len(value), "is_json": value.startswith(JSON)}))


if __name__ == "__main__":
    _main(*sys.argv[1:]) if sys.argv[1:] else _bring_up()
