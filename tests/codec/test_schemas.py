"""The bundled schemas: what differs between versions, what must never change, and which foreign ones are refused."""

import json
import re
from pathlib import Path

import fastavro
import pytest

from streamproc.codec.schemas import WriterSchema, load
from streamproc.codec.vet import MAX_TYPES
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError, RecordRejected
from tests.support.books import RUN_OBJECT_VERSIONS, book_of, bundled_book

DIRECTORY = Path(__file__).parents[2] / "schemas"
FILES = sorted(path.stem for path in DIRECTORY.glob("*.avsc"))
RELEASED = {
    "langgraph_run": "1aa0e9371f8cc10e",
    "replay_dead_letter": "8c3bdd1b5e4b3981",
    "response": "e00ce788120c2536",
    "run_alert": "fe2e565b4d9db02e",
    "run_instance": "f3c077e2540f1a10",
    "run_measurement": "40b99f20887932a0",
    "run_metrics": "30b3920349a9828e",
    "run_object_v1": "4ec92ffd16296abe",
    "run_object_v1_5": "e5ef092dee83bf4e",
    "run_object_v2": "f093735daeb94ace",
    "run_object_v2_1": "e1bd02b37d0da297",
    "run_state": "eceb49b633f103f2",
    "run_state_v1": "3ac1528f29cfa939",
    "run_transition": "0bb6d24cf433a30b",
    "run_transition_v1": "db85ae86078c902a",
    "run_verdict": "c0ca5532edb3cf1c",
    "window_state": "389af2744fedcd10",
}
"""Fingerprints. Records of these schemas are out there, some of them in run-state: what changes is kept as v1."""

ID_AND_STATUS = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]


def _fields(version):
    return {field["name"]: field["type"] for field in load(f"run_object_{version}").document["fields"]}


def _record_in(schema):
    """The record that a field's type holds."""
    if isinstance(schema, list):
        return next(found for branch in schema if (found := _record_in(branch)))
    if isinstance(schema, dict):
        return schema if schema["type"] == "record" else _record_in(schema.get("items"))
    return None


def _parts(version, *path):
    """The names of the fields of a nested record."""
    record = {"fields": load(f"run_object_{version}").document["fields"]}
    for name in path:
        record = _record_in(next(field["type"] for field in record["fields"] if field["name"] == name))
    return {field["name"] for field in record["fields"]}


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_an_avro_schema_with_a_name_and_a_purpose(name):
    document = json.loads((DIRECTORY / f"{name}.avsc").read_text())
    assert fastavro.parse_schema(document)
    assert document["namespace"] == "streamproc"
    assert document["name"].lower() == re.sub(r"_v\d+(_\d+)?$", "", name).replace("_", "")
    assert document["doc"]


def test_no_released_schema_has_changed():
    assert {name: load(name).fingerprint for name in FILES} == RELEASED


# docs/domain.md 1


@pytest.mark.parametrize(
    ("field", "versions"),
    [
        *((name, "v1 v1_5 v2 v2_1") for name in ("id", "status", "thread_id", "assistant_id", "model", "created_at")),
        *((name, "v1 v1_5 v2 v2_1") for name in ("required_action", "last_error", "usage", "metadata", "tools")),
        ("file_ids", "v1 v1_5"),
        ("temperature", "v1_5 v2 v2_1"),
        ("max_prompt_tokens", "v1_5 v2 v2_1"),
        ("max_completion_tokens", "v1_5 v2 v2_1"),
        ("truncation_strategy", "v1_5 v2 v2_1"),
        ("tool_choice", "v1_5 v2 v2_1"),
        ("response_format", "v1_5 v2 v2_1"),
        ("incomplete_details", "v1_5 v2 v2_1"),
        ("top_p", "v2 v2_1"),
        ("parallel_tool_calls", "v2_1"),
    ],
)
def test_which_versions_have_a_field(field, versions):
    assert [version for version in RUN_OBJECT_VERSIONS if field in _fields(version)] == versions.split()


@pytest.mark.parametrize(
    ("path", "field", "versions"),
    [
        (("tools", "function"), "strict", "v2_1"),
        (("tools",), "file_search", "v2_1"),
        (("tools", "file_search"), "max_num_results", "v2_1"),
        (("tools", "file_search", "ranking_options"), "ranker", "v2_1"),
        (("tools", "file_search", "ranking_options"), "score_threshold", "v2_1"),
        (("response_format",), "json_schema", "v2_1"),
        (("response_format", "json_schema"), "schema", "v2_1"),
        (("usage",), "prompt_token_details", "v2_1"),
        (("required_action", "submit_tool_outputs", "tool_calls", "function"), "arguments", "v1 v1_5 v2 v2_1"),
    ],
)
def test_which_versions_have_a_nested_field(path, field, versions):
    def has(version):
        try:
            return field in _parts(version, *path)
        except StopIteration:
            return False

    assert [version for version in RUN_OBJECT_VERSIONS if has(version)] == versions.split()


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
def test_statuses_and_other_documented_values_are_open(version):
    """Values outside the documented ones occur: an Avro enum would make each a bad record."""
    assert '"enum"' not in json.dumps(load(f"run_object_{version}").document)


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
def test_all_but_identity_and_status_may_be_missing(version):
    """Real payloads leave out nearly everything."""
    for field in load(f"run_object_{version}").document["fields"]:
        assert field["name"] in {"id", "status"} or "default" in field


def test_the_book_of_bundled_schemas_has_every_version():
    assert {schema.label for schema in bundled_book()} == {load(f"run_object_{v}").label for v in RUN_OBJECT_VERSIONS}


def test_a_header_that_no_schema_has_is_a_bad_record():
    with pytest.raises(RecordRejected) as caught:
        book_of().find(b"\x00\x00\x00\x00\x07")
    assert caught.value.reason == "unknown_schema"
    assert "id:7" in str(caught.value)


def test_a_schema_that_is_not_installed_is_said_to_be_missing():
    with pytest.raises(ConfigError, match="run_object_v9"):
        load("run_object_v9")


# Foreign schemas


def faults(document):
    """What is wrong with a schema, as its records are rejected for it."""
    try:
        WriterSchema(document, ASSISTANTS.shape)
    except RecordRejected as error:
        return f"{error.reason}: {error}"
    return ""


def _schema(*fields, **types):
    typed = [{"name": name, "type": schema} for name, schema in types.items()]
    return {"type": "record", "name": "RunObject", "fields": [*ID_AND_STATUS, *fields, *typed]}


def _record(name, **types):
    return {"type": "record", "name": name, "fields": [{"name": key, "type": types[key]} for key in types]}


def _doubling(levels):
    """A schema of a few lines that stands for two to the power of `levels` types."""
    fields = []
    for level in range(levels):
        inner = f"R{level - 1}" if level else "long"
        parts = [{"name": "a", "type": inner}, {"name": "b", "type": inner}]
        fields.append({"name": f"f{level}", "type": {"type": "record", "name": f"R{level}", "fields": parts}})
    return _schema(*fields)


def _nested(levels):
    schema = "long"
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return _schema(deep=schema)


EMPTY = {"type": "record", "name": "Empty", "fields": []}
NAME = {"name": "name", "type": "string"}


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("string", "it must be a record"),
        (["null", "string"], "it must be a record"),
        (17, "no Avro schema"),
        (None, "no Avro schema"),
        ({}, "no Avro schema"),
        ({"type": "record", "name": "RunObject"}, "no Avro schema"),
        ({"type": "record", "name": "RunObject", "fields": [{"name": "id"}]}, "no Avro schema"),
        (_schema(other="Unknown"), "other uses Unknown, which the schema does not define"),
        (_schema(**{"a\nb": "Unknown"}), "a\\nb uses Unknown"),
        ({**_schema(), "fields": [*ID_AND_STATUS, ID_AND_STATUS[0]]}, "id stands twice"),
        (_schema(kind={"type": "enum", "name": "K", "symbols": ["a", 7]}), "kind: the symbols of an enum"),
        (_schema(kind=["null", {"type": "enum", "name": "K", "symbols": "ab"}]), "kind: the symbols of an enum"),
        (_schema(usage=_record("Usage", hash={"type": "fixed", "name": "H", "size": 2**40})), "usage.hash: the size"),
        (_schema(tools={"type": "array"}), "tools is no Avro schema"),
        (_schema(tools=[]), "tools is a union of nothing"),
        (_schema(secret={"type": "enum", "name": "S", "doc": "sk-secret"}), "secret: the symbols"),
        ({**_schema(), "fields": [ID_AND_STATUS[0], {"name": "status", "type": "null"}]}, "status is always null"),
        (_nested(20_000), "nested too deeply"),
        ({"type": "record", "name": "RunObject", "fields": []}, "id is missing"),
        ({"type": "record", "name": "RunObject", "fields": ID_AND_STATUS[:1]}, "status is missing"),
        (
            {**_schema(), "fields": [ID_AND_STATUS[1], {"name": "id", "type": "boolean"}]},
            "id is boolean: it must be string, enum, bytes or a number",
        ),
        (
            {**_schema(), "fields": [ID_AND_STATUS[0], {"name": "status", "type": ["string", "boolean"]}]},
            "status is boolean",
        ),
        (_schema(next="RunObject"), "next: RunObject contains itself with no end"),
        (_schema(nothings={"type": "array", "items": "null"}), "take no bytes"),
        (_schema(nothings={"type": "array", "items": EMPTY}), "take no bytes"),
        (_schema(nothing=EMPTY, nothings={"type": "array", "items": "Empty"}), "take no bytes"),
        (_schema(nothings={"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}), "take no bytes"),
        (_doubling(40), f"more than {MAX_TYPES:,} types"),
    ],
)
def test_a_schema_that_is_unfit_is_refused_with_the_reason(document, fault):
    """Not a RunObject's, or one with which a payload of a few bytes could kill the decoder."""
    assert fault in faults(document), faults(document)


@pytest.mark.parametrize(
    "document",
    [
        _schema(),
        _schema(anything={"type": "map", "values": "bytes"}, created_at="int", model="string"),
        _schema(status2={"type": "enum", "name": "E", "symbols": ["a"]}, usage2=["null", "string", "long"]),
        _schema(last_error={"type": "record", "name": "Error", "fields": [NAME]}),
        _schema(first={"type": "record", "name": "Twice", "fields": [NAME]}, second=["null", "Twice"]),
        _schema(optional=["null", {"type": "array", "items": ["null", "long"]}]),
        _schema(next=["null", "RunObject"]),
        _schema(next={"type": "map", "values": {"type": "array", "items": "RunObject"}}),
        _schema(usage=_record("Usage", **{"run-id": "string"})),
        _schema(kind={"type": "enum", "name": "K", "symbols": ["a-b", "a-b"]}),
        _schema(created_at=["null"], last_error="null", usage=_record("U", total_tokens="null")),
        _schema(items={"type": "array", "items": _record("A", b=_record("B", c=_record("C", text="string")))}),
        _schema(items={"type": "array", "items": _record("A", text="string", b="null", c="null", d="null")}),
    ],
)
def test_a_foreign_schema_with_the_fields_that_are_read_is_fit(document):
    assert faults(document) == ""


def test_a_schema_that_claims_to_be_parsed_already_is_parsed_all_the_same():
    """There is a hint for that, which anybody can write into a schema, and which fastavro believes."""
    liar = _schema(next="RunObject") | {"__fastavro_parsed": True, "__named_schemas": {}}
    assert "contains itself" in faults(liar)
