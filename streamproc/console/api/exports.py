"""Lists as CSV and NDJSON: all pages, one after another."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct, structs

from streamproc.console.answers.common import Answer
from streamproc.console.api.endpoints import EXPORT_ROWS, Call, Endpoint, items_of, next_page
from streamproc.escaping import escaped

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a spreadsheet takes for a formula at the beginning of a cell."""


async def lines(endpoint: Endpoint, call: Call, first: Answer, form: str) -> AsyncIterator[bytes]:
    """Yield a list, `first` its first page; raises as the questions do where the rest cannot be had."""
    answer, rows = first, 0
    item_type = item_of(endpoint)
    if form == "csv":
        yield _row(item_type.__struct_fields__)
    while True:
        items, cursor = items_of(answer)
        rows += len(items)
        yield b"".join(_csv(item) if form == "csv" else msgspec.json.encode(item) + b"\n" for item in items)
        if cursor is None or rows >= EXPORT_ROWS:
            return
        answer = await endpoint.ask(next_page(call, cursor))


def item_of(endpoint: Endpoint) -> type[Struct]:
    """Return what a list is of."""
    fields = {field.name: field.type for field in structs.fields(endpoint.answer)}
    item: type[Struct] = fields["items"].__args__[0]
    return item


def _csv(item: Struct) -> bytes:
    return _row([_cell(value) for value in structs.astuple(item)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    text = escaped(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _row(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
