"""The book of writer schemas: what it knows for good, what it was told, what it asks for, how much it keeps."""

import gc
import json
import weakref

import pytest

from streamproc.codec.book import MAX_REASON_CHARS, MAX_REFUSED, SchemaBook, SchemaMissing
from streamproc.codec.decode import MAX_MISSING, decode
from streamproc.codec.framing import confluent
from streamproc.codec.schemas import WriterSchema
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import RecordRejected, RejectionReason
from streamproc.settings.profiles import book_of
from tests.support.runobjects import SCHEMAS, arrivals, encode, framed, run_object

V2_1 = SCHEMAS["v2_1"]
PAYLOAD = encode(V2_1, run_object())
GOOD = framed("v2_1", run_object())


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def _book(**options):
    return book_of(ASSISTANTS, registered=True, **options)


def _schema(schema_id):
    return WriterSchema(V2_1.document, ASSISTANTS.shape, confluent(schema_id), f"id {schema_id}")


def _unknown():
    return RecordRejected(RejectionReason.UNKNOWN_SCHEMA, "nobody knows it")


def test_an_unknown_id_is_missing_until_it_is_learned():
    book = _book()
    with pytest.raises(SchemaMissing):
        book.find(confluent(7))
    book.learn(confluent(7), _schema(7))
    assert book.find(confluent(7)).where == "id 7"


def test_a_no_is_remembered_for_a_while_and_then_asked_again():
    clock = Clock()
    book = _book(negative_ttl_s=60, clock=clock)
    book.refuse(confluent(7), _unknown())
    clock.now = 59.9
    with pytest.raises(RecordRejected, match="nobody"):
        book.find(confluent(7))
    clock.now = 60.1
    with pytest.raises(SchemaMissing):
        book.find(confluent(7))


def test_a_yes_after_a_no_counts():
    book = _book()
    book.refuse(confluent(7), _unknown())
    book.learn(confluent(7), _schema(7))
    assert book.find(confluent(7)).label == "id:7"


def test_the_schemas_used_last_are_kept():
    book = _book(max_learned=2)
    for number in (1, 2):
        book.learn(confluent(number), _schema(number))
    book.find(confluent(1))
    book.learn(confluent(3), _schema(3))
    assert book.find(confluent(1))
    with pytest.raises(SchemaMissing):
        book.find(confluent(2))


def test_ids_made_up_by_the_thousand_do_not_fill_the_memory():
    book = _book()
    for number in range(MAX_REFUSED + 500):
        book.refuse(confluent(number), _unknown())
    assert len(book._refused) == MAX_REFUSED


def test_a_no_holds_on_to_nothing_of_its_schema():
    """Ten thousand are kept: an error's traceback has the whole schema, its text may show it."""

    class Held:
        pass

    def reject(held):
        raise RecordRejected(RejectionReason.UNFIT_SCHEMA, "x" * 240_000)

    def refuse(held):
        try:
            reject(held)
        except RecordRejected as error:
            book.refuse(confluent(7), error)

    book, held = _book(), Held()
    alive = weakref.ref(held)
    refuse(held)
    del held
    gc.collect()
    assert alive() is None
    with pytest.raises(RecordRejected) as error:
        book.find(confluent(7))
    assert error.value.reason == "unfit_schema"
    assert len(str(error.value)) == MAX_REASON_CHARS + 1


def test_large_schemas_do_not_fill_the_memory_either(monkeypatch):
    """Compiled they take 60 times their text: those used last are kept, up to a sum of bytes, and the newest always."""
    size = len(json.dumps(V2_1.document))
    monkeypatch.setattr("streamproc.codec.book.MAX_LEARNED_BYTES", 2 * size)
    book = _book()
    for number in (1, 2, 2):
        book.learn(confluent(number), _schema(number))
    book.find(confluent(1))
    book.learn(confluent(3), _schema(3))
    assert list(book._learned) == [confluent(1), confluent(3)]
    monkeypatch.setattr("streamproc.codec.book.MAX_LEARNED_BYTES", size - 1)
    book.learn(confluent(4), _schema(4))
    assert book.find(confluent(4))
    assert book._learned_bytes == size


def test_an_unknown_fingerprint_is_nothing_that_a_registry_could_know():
    with pytest.raises(RecordRejected, match="Confluent"):
        _book().find(b"\xc3\x01" + bytes(8))


def test_without_a_registry_every_id_is_unknown():
    with pytest.raises(RecordRejected, match="no registry"):
        book_of(ASSISTANTS).find(confluent(7))


def test_json_can_be_switched_off():
    [rejection] = decode(arrivals(b'{"id":"r","status":"queued"}'), book_of(ASSISTANTS, json=False)).rejections
    assert rejection.reason == "unknown_schema"
    assert "STREAMPROC_INPUT__JSON" in rejection.message


# A batch with schemas that are missing


def test_a_batch_is_taken_up_to_the_first_record_whose_schema_is_missing():
    """What is behind it has to wait: a run's events stay in their order."""
    book = _book()
    records = arrivals(GOOD, None, GOOD, confluent(7) + PAYLOAD, GOOD, confluent(8) + PAYLOAD, confluent(7) + PAYLOAD)
    decoded = decode(records, book)
    assert decoded.taken == 3
    assert [event.offset for event in decoded.events] == [records[0].offset, records[2].offset]
    assert [rejection.record for rejection in decoded.rejections] == [records[1]]
    assert decoded.missing == (confluent(7), confluent(8))


def test_what_was_learned_and_refused_lets_the_batch_go_on():
    book = _book()
    records = arrivals(confluent(7) + PAYLOAD, confluent(8) + PAYLOAD, GOOD)
    book.learn(confluent(7), _schema(7))
    book.refuse(confluent(8), _unknown())
    decoded = decode(records, book)
    assert (decoded.taken, decoded.missing) == (3, ())
    assert [event.schema for event in decoded.events] == ["id:7", V2_1.label]
    assert [rejection.reason for rejection in decoded.rejections] == ["unknown_schema"]


def test_a_flood_of_ids_is_asked_for_in_portions():
    decoded = decode(arrivals(*(confluent(number) + PAYLOAD for number in range(500))), _book())
    assert len(decoded.missing) == MAX_MISSING
    assert decoded.missing[0] == confluent(0)


def test_a_book_keeps_nothing_of_another():
    assert SchemaBook([], ASSISTANTS.shape)._learned is not SchemaBook([], ASSISTANTS.shape)._learned


def test_a_fingerprint_with_its_bytes_reversed_is_told():
    """Java prints the number; single-object encoding sends its lowest byte first."""
    book = book_of(ASSISTANTS)
    header = next(iter(book)).header
    with pytest.raises(RecordRejected, match="the one with its bytes reversed is"):
        book.find(header[:2] + header[:1:-1])
