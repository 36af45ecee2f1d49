"""Shows letters to people.

Text from other programs is escaped. Lists never show a record's value, key or headers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from streamproc.codec.sizes import named
from streamproc.dlq.letter import Letter
from streamproc.dlq.listing import LetterCounts, LetterListing, ListedLetter
from streamproc.dlq.receipts import Receipt
from streamproc.escaping import escaped, escaped_bytes
from streamproc.times import instant

MAX_CHARS = 1_000
"""Limit on the characters shown of a key, a header's name or its value."""
MAX_TOTALS = 20
DUMP_BYTES = 16
PRINTABLE = range(0x20, 0x7F)


def table(rows: Iterable[ListedLetter]) -> Table:
    """Return the list of letters."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("place", no_wrap=True)
    for name in ("rejected", "event", "reason", "schema", "source", "bytes", "attempt", "replayed", "message"):
        # In a narrow terminal, cells are wrapped rather than cut.
        grid.add_column(name, overflow="fold", justify="right" if name in {"bytes", "attempt"} else "left")
    for letter, size, receipt in rows:
        cells = (
            letter.place,
            instant(letter.written_ms, "seconds"),
            instant(letter.source.timestamp, "seconds"),
            letter.reason,
            letter.schema,
            str(letter.source),
            f"{size:,}{' (cut)' if letter.is_cut else ''}",
            str(letter.attempt),
            "no" if receipt is None else "yes",
            letter.message,
        )
        grid.add_row(*(Text(escaped(cell)) for cell in cells))
    return grid


def totals(listing: LetterListing) -> Iterator[str]:
    """Yield lines about all letters that pass the filter, not only those listed."""
    replayed = f", {listing.replayed:,} of them replayed" if not listing.open_only else " not replayed yet"
    yield f"{listing.letters:,} dead letters{replayed}"
    if listing.letters:
        yield from by(listing.counts)


def nothing_matches(others: LetterCounts) -> Iterator[str]:
    """Yield lines about the letters that there are, when none passes the filter."""
    yield f"none of the {others.reasons.total():,} dead letters matches the filter. By reason and schema they are:"
    yield from by(others)


def by(counts: LetterCounts) -> Iterator[str]:
    """Yield the counts by reason and by schema."""
    yield f"by reason: {_counts(counts.reasons)}"
    yield f"by schema: {_counts(counts.schemas)}"


def warnings(unmended: Counter[str], nothing_at: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Yield lines about letters that will be rejected again, and about places without a letter."""
    if unmended:
        yield (
            f"these settings still do not know {_counts(unmended)}: such dead letters will be rejected again; "
            "name the schema in profiles.<name>.schemas or set a registry first"
        )
    for partition, offset in nothing_at:
        yield f"there is no dead letter at {partition}:{offset}"


def foreign(count: int) -> str:
    """Return the line about records that are no dead letters."""
    return f"{count:,} records of the topic are not dead letters of streamproc: another program wrote them"


def details(letter: Letter, receipt: Receipt | None) -> Iterator[tuple[str, str]]:
    """Yield names and values, escaped: everything about a letter but its value."""
    yield "place", letter.place
    yield "rejected", instant(letter.written_ms)
    yield "event", instant(letter.source.timestamp)
    yield "reason", escaped(letter.reason)
    yield "message", escaped(letter.message)
    yield "source", escaped(str(letter.source))
    yield "schema", letter.schema
    yield "attempt", str(letter.attempt)
    yield "replayed", _replayed(receipt)
    yield "key", _bytes(letter.key)
    yield "value", "null" if letter.value is None else f"{len(letter.value):,} bytes"
    if letter.original is not None:
        yield "value as it came", f"{letter.original.size:,} bytes, SHA-256 {letter.original.sha256}"
    if letter.original is not None and letter.is_cut:
        yield "cut", escaped(letter.original.cut)
    if letter.through is not None:
        yield "skipped", f"offsets {letter.source.offset} to {letter.through}"
    yield "headers", f"{len(letter.headers):,}"
    for name, value in letter.headers:
        yield f"  {escaped_bytes(named(name), MAX_CHARS)}", _bytes(value)


def hex_dump(value: bytes, most_bytes: int | None) -> Iterator[str]:
    """Yield lines of offset, bytes in hexadecimal and as ASCII; at most `most_bytes` bytes."""
    shown = value[:most_bytes]
    for start in range(0, len(shown), DUMP_BYTES):
        part = shown[start : start + DUMP_BYTES]
        text = "".join(chr(byte) if byte in PRINTABLE else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * DUMP_BYTES - 1}}  {text}"
    if len(shown) < len(value):
        more = f"{len(value) - len(shown):,} of {len(value):,} bytes more"
        yield f"… {more}: --all shows them, --out writes them to a file"


def _bytes(value: bytes | None) -> str:
    if value is None:
        return "null"
    text = escaped_bytes(value, MAX_CHARS)
    return f"{text} ({len(value):,} bytes)" if text.endswith("…") or not text else text


def _replayed(receipt: Receipt | None) -> str:
    return "no" if receipt is None else instant(receipt.at_ms)


def _counts(counter: Counter[str]) -> str:
    most = [f"{escaped(name)} {count:,}" for name, count in counter.most_common(MAX_TOTALS)]
    more = [f"{len(counter) - MAX_TOTALS:,} more"] if len(counter) > MAX_TOTALS else []
    return ", ".join(most + more)
