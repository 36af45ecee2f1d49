"""What is printed of letters: nothing that steers a terminal, nothing of a record unless asked for."""

import io
import json

import pytest
from rich.console import Console

from streamproc.dlq import showing
from streamproc.dlq.documents import row_document
from streamproc.dlq.letter import Foreign, Letter, LetterOrigin, Original
from streamproc.dlq.listing import MAX_NAMES, OTHER, LetterListing, NameCounts
from streamproc.dlq.receipts import Receipts, receipt
from streamproc.escaping import escaped, escaped_bytes, escaped_lines
from tests.support.runobjects import Arrived

NOON_MS = 1_767_268_800_000
HOSTILE = "\x1b[2J[red]\u202egnp\r\nforged\x07"


def letter(offset=0, at_ms=NOON_MS + 5, partition=0, **fields):
    source = LetterOrigin(fields.pop("topic", "run-events"), partition, 40 + offset, NOON_MS)
    base = Letter(partition, offset, at_ms, "undecodable", "why", source, "id:17", 1, b"key", b"payload", [])
    return base._replace(**fields)


def printed(renderable) -> str:
    stream = io.StringIO()
    Console(file=stream, width=400, color_system=None).print(renderable)
    return stream.getvalue()


def listed(*letters, limit=0, known=None):
    listing = LetterListing(limit)
    for each in letters:
        listing.add(each, known or Receipts())
    return listing


def test_a_list_shows_what_is_known_about_a_letter():
    text = printed(showing.table(listed(letter(7)).rows()))
    for word in ("0:7", "2026-01-01T12:00:00Z", "undecodable", "id:17", "run-events:0:47", "10", "1", "no", "why"):
        assert word in text.splitlines()[-2 if not text.splitlines()[-1].strip() else -1]


def test_a_list_shows_nothing_of_a_record():
    hidden = letter(key=b"the-key", value=b"the-value", headers=[("the-name", b"the-header")])
    listing = listed(hidden)
    (row,) = listing.rows()
    text = printed(showing.table([row])) + json.dumps(row_document(*row)) + "".join(showing.totals(listing))
    assert "the-" not in text


@pytest.mark.parametrize("field", ["reason", "message", "topic", "schema"])
def test_what_somebody_else_wrote_is_escaped_in_a_list(field):
    listing = listed(letter(**{field: HOSTILE}))
    (row,) = listing.rows()
    lines = [*printed(showing.table([row])).splitlines(), *showing.totals(listing), json.dumps(row_document(*row))]
    assert all(line.isprintable() for line in lines)
    assert "[red]" in "".join(lines), "no markup of rich's is obeyed"


def test_a_header_name_that_is_no_utf8_is_shown_as_its_bytes():
    odd = letter(headers=[(b"\xffx\x1b".decode("utf-8", "surrogateescape"), b"1")])
    assert list(showing.details(odd, None))[-1] == ("  \\xffx\\x1b", "1")
    assert odd.size == len(b"payloadkey\xffx\x1b1")


def test_the_newest_are_kept_in_their_order():
    letters = [letter(offset, NOON_MS + at) for offset, at in enumerate((50, 10, 40, 20, 30))]
    listing = listed(*letters, limit=3)
    assert [row.letter.offset for row in listing.rows()] == [4, 2, 0]
    assert listing.letters == 5
    assert [row.letter.offset for row in listed(*letters).rows()] == [1, 3, 4, 2, 0]


def test_names_that_somebody_makes_up_take_little_room():
    """As many are counted as ever occur; the rest together."""
    names = NameCounts()
    for number in range(MAX_NAMES + 50):
        names.add(f"id:{number}")
    names.add("id:7")
    assert (len(names), names.total()) == (MAX_NAMES + 1, MAX_NAMES + 51)
    assert (names["id:7"], names[OTHER]) == (2, 50)


def test_totals_are_over_all_letters():
    known = Receipts()
    known.load([Arrived(0, receipt(letter(1), NOON_MS)[1], key=b"0:1")], 0)
    listing = listed(letter(0), letter(1), letter(2, reason="bad_time", schema="none"), Foreign(0, 3, ""), known=known)
    assert list(showing.totals(listing)) == [
        "3 dead letters, 1 of them replayed",
        "by reason: undecodable 2, bad_time 1",
        "by schema: id:17 2, none 1",
    ]
    assert listing.foreign == 1


def test_json_is_ascii_and_complete():
    (row,) = listed(letter(7, message="ß\n")).rows()
    line = json.dumps(row_document(*row))
    assert line.isascii()
    assert json.loads(line) == {
        "place": "0:7",
        "time": NOON_MS,
        "written": NOON_MS + 5,
        "reason": "undecodable",
        "message": "ß\n",
        "schema": "id:17",
        "source": {"topic": "run-events", "partition": 0, "offset": 47},
        "bytes": 10,
        "cut": False,
        "sha256": None,
        "through": None,
        "attempt": 1,
        "replayed": None,
    }


def test_details_escape_key_and_headers_and_leave_out_the_value():
    headers = [(HOSTILE, HOSTILE.encode()), ("bytes", b"\xff\x00"), ("null", None), ("long", b"x" * 5_000)]
    found = list(showing.details(letter(key=HOSTILE.encode(), headers=headers, message=HOSTILE), None))
    assert all(name.isprintable() and value.isprintable() for name, value in found)
    shown = dict(found)
    assert shown["  bytes"] == "\\xff\\x00"
    assert shown["  null"] == "null"
    assert shown["  long"].startswith("xxx")
    assert shown["  long"].endswith("… (5,000 bytes)")
    assert shown["value"] == "7 bytes"
    assert "payload" not in str(found)


def test_a_narrow_terminal_cuts_nothing():
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(
        showing.table(listed(letter(17, message="why" * 20)).rows())
    )
    assert "0:17" in stream.getvalue()
    assert "…" not in stream.getvalue()


def test_a_dump_is_bounded_and_printable():
    lines = list(showing.hex_dump(b"\x1b[2Jabc" + bytes(100), 16))
    assert lines == [
        "00000000  1b 5b 32 4a 61 62 63 00 00 00 00 00 00 00 00 00  .[2Jabc.........",
        "… 91 of 107 bytes more: --all shows them, --out writes them to a file",
    ]
    assert len(list(showing.hex_dump(bytes(33), None))) == 3
    assert list(showing.hex_dump(b"", None)) == []


@pytest.mark.parametrize(
    "time_ms", [2**62, -(2**62), 10**15, -2, 0, 1_767_268_800, 946_684_799_999, 253_402_300_800_000]
)
def test_a_time_outside_of_the_years_2000_to_9999_is_its_number(time_ms):
    """It is in another unit, or none: no date of 1970 that nobody meant."""
    assert showing.instant(time_ms) == str(time_ms)


def test_the_years_2000_to_9999_are_dates():
    assert showing.instant(946_684_800_000) == "2000-01-01T00:00:00.000Z"
    assert showing.instant(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"


def test_an_event_time_that_there_is_none_of_is_said():
    """As in the letter of records that were passed over."""
    timeless = letter(source=LetterOrigin("run-events", 0, 7, -1))
    assert dict(showing.details(timeless, None))["event"] == "none"
    text = printed(showing.table(listed(timeless).rows()))
    assert " none " in text
    assert "19" not in text


def test_escapes_cannot_be_told_to_do_anything():
    assert escaped("plain ß 日本") == "plain ß 日本"
    assert escaped(HOSTILE) == "\\x1b[2J[red]\\u202egnp\\r\\nforged\\x07"
    assert escaped_lines("a\x07\nb") == "a\\x07\nb"
    assert escaped("\ud800") == "\\ud800"
    assert escaped_bytes(b"a\xff\n", 10) == "a\\xff\\n"
    assert escaped_bytes("日本".encode(), 100) == "日本"
    assert escaped_bytes(b"\x00" * 10, 10) == "\\x00\\x00\\x…"


def test_a_letter_that_is_cut_is_shown_as_large_as_the_record_came():
    cut = letter()._replace(original=Original(3_145_728, "ab" * 32, "value"))
    assert "3,145,7" in printed(showing.table(listed(cut).rows()))
    assert "(cut)" in printed(showing.table(listed(cut).rows()))
    said = dict(showing.details(cut, None))
    assert said["value as it came"] == f"3,145,728 bytes, SHA-256 {'ab' * 32}"
    assert said["cut"] == "value"
    (row,) = listed(cut).rows()
    assert json.loads(json.dumps(row_document(*row)))["cut"] is True


def test_what_was_passed_over_is_shown_with_its_offsets():
    said = dict(showing.details(letter(reason="skipped")._replace(through=52), None))
    assert said["skipped"] == "offsets 40 to 52"
