"""Statuses as producers spell them: mapped, kept or rejected, alike in every framing and by both decoders."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.arrival import MAX_STATUS_CHARS, Framed
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema, load
from streamproc.core.model import RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.shape import Shape
from streamproc.errors import RecordRejected
from tests.support.books import RUN_OBJECT_VERSIONS
from tests.support.native import doubtful, needs_native
from tests.support.runobjects import RUN_OBJECTS, Arrived, arrivals, encode, run_object

SAID = {"Completed": "completed", "in-progress": "in_progress", "läuft": "in_progress"}
KNOWN = frozenset(ASSISTANTS.statuses)
SHAPES = {
    "kept": ASSISTANTS.shape,
    "mapped": replace(ASSISTANTS.shape, statuses=SAID),
    "rejected": replace(ASSISTANTS.shape, only=KNOWN),
    "mapped, others rejected": replace(ASSISTANTS.shape, statuses=SAID, only=KNOWN),
}
SCHEMAS = {(way, version): WriterSchema(load(f"run_object_{version}").document, shape)
           for way, shape in SHAPES.items() for version in RUN_OBJECT_VERSIONS}  # fmt: skip
STATUSES = (*ASSISTANTS.statuses, *SAID, "Completed\n", "paused", "", "s" * MAX_STATUS_CHARS, "s" * 65)


def wanted(said: str, shape: Shape) -> str:
    """Return an event's status, or the reason for which it is rejected: what the rule says, in a few words."""
    if not 0 < len(said) <= MAX_STATUS_CHARS or "\n" in said:
        return "bad_status"
    status = shape.statuses.get(said, said)
    return "unknown_status" if shape.only and status not in shape.only else status


def alone(record: Arrived, schema: WriterSchema) -> RunEvent | tuple[str, str]:
    """Return a record's event as the reference decoder has it, or its reason and message."""
    try:
        return decode_one(Framed(record, (record.value or b"")[len(schema.header) :]), schema)
    except RecordRejected as error:
        return error.reason, str(error)


def refusal(status: str, shape: Shape = SHAPES["rejected"]) -> str:
    book = SchemaBook([], shape, json=True)
    [rejection] = decode(arrivals(json.dumps({"id": "run_1", "status": status}).encode()), book).rejections
    assert rejection.reason == "unknown_status"
    return rejection.message


@pytest.mark.parametrize("way", SHAPES)
@given(data=st.data(), version=st.sampled_from(RUN_OBJECT_VERSIONS))
def test_both_decoders_take_a_status_for_the_same(way: str, data: st.DataObject, version: str) -> None:
    """Rule: in any batch each event has the status, or is refused for the reason, that it has alone."""
    schema, statuses = SCHEMAS[way, version], st.sampled_from(STATUSES)
    objects = [
        {**data.draw(RUN_OBJECTS[version]), "id": "run_1", "status": status}
        for status in data.draw(st.lists(statuses, min_size=1, max_size=8))
    ]
    records = arrivals(*(schema.header + encode(schema, found) for found in objects))
    decoded = decode(records, SchemaBook([schema], SHAPES[way]))
    together = {event.offset: event for event in decoded.events}
    refused = {rejection.record.offset: rejection for rejection in decoded.rejections}
    for record, found in zip(records, objects, strict=True):
        expected, by_itself = wanted(found["status"], SHAPES[way]), alone(record, schema)
        if isinstance(by_itself, RunEvent):
            assert together[record.offset] == by_itself
            assert by_itself.status == expected
        else:
            assert refused[record.offset][1:3] == by_itself
            assert by_itself[0] == expected


@pytest.mark.parametrize("way", SHAPES)
def test_every_framing_takes_a_status_for_the_same(way: str) -> None:
    shape = SHAPES[way]
    schemas = [SCHEMAS[way, version] for version in RUN_OBJECT_VERSIONS]
    objects = [run_object(status=status) for status in STATUSES]
    values = [schema.header + encode(schema, found) for schema in schemas for found in objects]
    values += [json.dumps(found).encode() for found in objects]
    decoded = decode(arrivals(*values), SchemaBook(schemas, shape, json=True))
    outcomes = Counter([each.status for each in decoded.events] + [each.reason for each in decoded.rejections])
    expected = Counter(wanted(status, shape) for status in STATUSES)
    assert outcomes == {outcome: count * (len(schemas) + 1) for outcome, count in expected.items()}


@needs_native
def test_where_every_status_is_known_the_native_decoder_needs_no_help() -> None:
    """Rule: what is mapped, and what is known, is no suspect."""
    schema = SCHEMAS["mapped, others rejected", "v2_1"]
    records = arrivals(*(encode(schema, run_object(status=status)) for status in (*ASSISTANTS.statuses, *SAID)))
    group = [Framed(record, record.value) for record in records]
    assert doubtful(schema, group) == []
    assert {event.status for event in schema.native.decode(group).events} == KNOWN


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            "Completed",
            "the status Completed is none of the profile's; did you mean completed? STREAMPROC_INPUT__STATUSES maps it",
        ),
        ("in-progress", "did you mean in_progress?"),
        ("zzz", "zzz is none of the profile's; there is cancelled, cancelling, completed, "),
    ],
)
def test_a_refusal_names_the_status_and_what_was_probably_meant(status: str, words: str) -> None:
    assert words in refusal(status)


def test_a_refusal_shows_nothing_that_could_steer_a_terminal_and_is_short() -> None:
    """What turns no line is a status all the same: it is shown escaped."""
    message = refusal("\u00ad" + "🦀" * 60)
    assert message.isprintable()
    assert len(message) < 400
