"""What `schema check` says: where each target is found, or each fault with its path; whatever is in a file."""

import json

import fastavro
import pytest

from streamproc.core.profiles import ASSISTANTS, LANGGRAPH
from streamproc.errors import ConfigError
from streamproc.schemacheck import check, with_references
from streamproc.schemafile import MAX_FILE_BYTES, read_document

FIELDS = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]


def _document(*fields):
    return {"type": "record", "name": "Mine", "fields": [*FIELDS, *fields]}


def test_where_each_target_is_found_and_how_it_is_read():
    millis = ["null", {"type": "long", "logicalType": "timestamp-millis"}]
    alias = {"name": "conversation", "type": "string", "aliases": ["thread_id"]}
    report = check("mine", _document({"name": "created_at", "type": millis}, alias), ASSISTANTS)
    assert report.faults == ()
    found = dict(report.found)
    assert found["created_at"] == "created_at (long, milliseconds)"
    assert found["thread_id"] == "conversation (string)"
    assert found["model"] == "absent: null"


def test_each_fault_is_said_once_with_its_path_and_reason():
    wrong = {**_document(), "fields": [FIELDS[0], {"name": "status", "type": ["null", "boolean"]}]}
    report = check("mine", wrong, ASSISTANTS)
    assert report.faults == ("status is boolean: it must be string, enum, bytes or a number",)
    assert check("mine", _document(), LANGGRAPH).faults == ("run_id is missing",)


def test_what_is_there_but_is_not_read_is_said_and_no_fault():
    """Anything but the id and the status costs itself, not the event: then it should not be found out in production."""
    report = check(
        "mine",
        _document(
            {"name": "usage", "type": ["null", "string"]},
            {"name": "created_at", "type": {"type": "int", "logicalType": "date"}},
            {"name": "model", "type": ["null", "string", "boolean"]},
        ),
        ASSISTANTS,
    )
    assert report.faults == ()
    found, said = dict(report.found), "; each record that has it is flagged, and taken without"
    assert (found["total_tokens"], found["created_at"], found["model"]) == (*["not read: null"] * 2, "model (union)")
    for note in (
        f"total_tokens: usage is string: it must be a record or a map{said}",
        f"created_at: created_at is a date: created_at must be a moment{said}",
        f"model: model is boolean: it must be string, enum, bytes or a number{said}",
    ):
        assert note in report.notes


def test_a_fault_with_a_semicolon_is_one():
    """What a schema names itself cannot make two faults of one: `Unfit.faults` has them apart."""
    report = check("mine", {"type": "record", "name": "R", "fields": [{"doc": "a; b"}]}, ASSISTANTS)
    assert len(report.faults) == 1
    wrong = {**_document(), "fields": [{"name": "id", "type": "boolean"}, {"name": "status", "type": "boolean"}]}
    assert len(check("mine", wrong, ASSISTANTS).faults) == 2


def test_a_fault_cannot_steer_a_terminal():
    [fault] = check("mine", _document({"name": "x", "type": "\x1b[2J\n"}), ASSISTANTS).faults
    assert fault.isprintable()


def test_references_are_put_in_as_the_registrys_are():
    """docs/sending.md: the same is said before deployment, also of a schema that refers to others."""
    main = _document({"name": "usage", "type": ["null", "x.Usage"]})
    tokens = {"type": "record", "name": "x.Tokens", "fields": [{"name": "total", "type": "long"}]}
    usage = {"type": "record", "name": "x.Usage", "fields": [{"name": "total_tokens", "type": "int"}]}
    assert check("mine", main, ASSISTANTS).faults
    report = check("mine", with_references(main, [tokens, usage]), ASSISTANTS)
    assert dict(report.found)["total_tokens"] == "usage.total_tokens (int)"
    assert with_references(main, []) is main
    with pytest.raises(ConfigError, match=r"x\.Usage, which neither"):
        with_references(main, [tokens])


def test_schemas_are_read_from_avsc_and_from_container_files(tmp_path):
    plain, container = tmp_path / "a.avsc", tmp_path / "a.avro"
    plain.write_text(json.dumps(_document()))
    with container.open("wb") as file:
        fastavro.writer(file, _document(), [])
    assert read_document(plain) == _document()
    assert read_document(container)["name"] == "Mine"


@pytest.mark.parametrize(
    "content", [b"", b"no", b"\xff\xfe", b"[" * 100_000, b"Obj\x01", b"Obj\x01rubbish", b" " * (MAX_FILE_BYTES + 1)]
)
def test_whatever_is_in_a_file_is_a_message(tmp_path, content):
    path = tmp_path / "a.avsc"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.avsc"):
        read_document(path)


def test_a_directory_and_a_file_that_is_not_there_are_messages(tmp_path):
    for path in (tmp_path, tmp_path / "none.avsc", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="is no file"):
            read_document(path)


def test_symbols_that_are_no_statuses_are_named():
    """They are taken, and count as active: nobody should find that out in production."""
    kind = {"type": "enum", "name": "S", "symbols": ["queued", "WEIRD"]}
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": ["null", kind]}]
    notes = check("mine", {"type": "record", "name": "R", "fields": fields}, ASSISTANTS).notes
    assert any(note.startswith("WEIRD: no statuses of profile assistants") for note in notes)
