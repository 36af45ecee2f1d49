"""Exports lists as CSV and NDJSON, page by page. If a later page fails, the connection breaks off."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct, structs

from streamproc.console.answers.common import Answer
from streamproc.console.api.endpoints import Call, Endpoint, items_of, next_page
from streamproc.console.reads import Busy
from streamproc.escaping import escaped

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
ATTEMPTS = 5
BUSY_S = 1.0
"""Wait before a page is requested again."""
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""First characters that make a spreadsheet take a cell for a formula."""


async def lines(endpoint: Endpoint, call: Call, first: Answer, form: str) -> AsyncIterator[bytes]:
    """Yield a list as bytes, from its first page on; raises what the endpoint raises for a later page."""
    answer = first
    item_type = item_of(endpoint)
    if form == "csv":
        yield _row(item_type.__struct_fields__)
    while True:
        items, cursor = items_of(answer)
        yield b"".join(_csv(item) if form == "csv" else msgspec.json.encode(item) + b"\n" for item in items)
        if cursor is None:
            return
        answer = await _page_of(endpoint, next_page(call, cursor))


async def _page_of(endpoint: Endpoint, call: Call) -> Answer:
    """Request a page, again if the read model is busy: in thousands of pages that may happen."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await endpoint.ask(call)
        except Busy:
            await asyncio.sleep(BUSY_S)
    return await endpoint.ask(call)


def item_of(endpoint: Endpoint) -> type[Struct]:
    """Return the type of a list's items."""
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
