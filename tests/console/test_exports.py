"""Lists as CSV and NDJSON: whole, over several pages, inert in a spreadsheet."""

import asyncio
import csv
import io
import itertools
import json

import aiohttp
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from streamproc.console.answers.signals import Letter
from streamproc.console.api import endpoints, exports, routes
from streamproc.console.api.endpoints import ENDPOINTS
from streamproc.console.api.exports import FORMULA, item_of
from streamproc.console.reads import Busy
from tests.support.consoleapi import Reads, client, console, serving
from tests.support.fleet import NOW_MS
from tests.support.waiting import eventually

API = "/api/v1"
LISTS = {endpoint.path: endpoint for endpoint in ENDPOINTS if endpoint.is_list}
SMALL_PAGES = 7
SPAN = {"since": NOW_MS - 3_600_000, "until": NOW_MS}


csv.field_size_limit(2**24)  # A made-up run has a megabyte of metadata.


@pytest.fixture
def reads(monkeypatch) -> Reads:
    """Pages so small that each list has several, behind the first one, too."""
    monkeypatch.setattr(endpoints, "MAX_PAGE", SMALL_PAGES)
    return Reads()


def asked(reads: Reads, path: str, form: str):
    """Return a list in a form, and the same items as JSON."""
    asking = client(console(reads))
    where = f"{API}{path.format(run_id=next(iter(reads.lives)))}"
    paged = path != "/pipeline"
    params = SPAN if path == "/metrics" else {}
    items, cursor = [], None
    while True:
        page = asking.get(where, params={**params, **({"cursor": cursor} if cursor else {})}).json()
        items += page["items"]
        if (cursor := page["next"]) is None:
            break
    few = {"limit": 3} if paged else {}
    return asking.get(where, params={**params, **few, "format": form}), items


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_had_as_ndjson(reads, path):
    answer, items = asked(reads, path, "ndjson")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert [json.loads(line) for line in answer.text.split("\n")[:-1]] == items
    assert len(items) > 3 or path.endswith("history")


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_had_as_csv(reads, path):
    """A column for each field; strings as text, anything else as JSON, nothing where there is nothing."""
    answer, items = asked(reads, path, "csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].endswith('.csv"')
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    names = list(item_of(LISTS[path]).__struct_fields__)
    assert rows[0] == names
    assert len(rows) == len(items) + 1
    for row, item in zip(rows[1:], items, strict=True):
        for cell, name in zip(row, names, strict=True):
            if not isinstance(item[name], str):
                assert (None if cell == "" else json.loads(cell)) == item[name]


def test_no_cell_is_a_formula(reads):
    """Else whoever opens the file runs what a producer calls its assistant; line breaks and the like are shown."""
    first, *_ = reads.mail
    texts = [*(f"{start}cmd|' /C calc'!A1" for start in FORMULA), "\u202eevil", "a\r\nb", "plain", "a,b", 'say "x"']
    reads.mail = [structs.replace(first, offset=n, message=text) for n, text in enumerate(texts)]
    answer = client(console(reads)).get(f"{API}/dead-letters?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    messages = [row["message"] for row in rows]
    assert not [text for text in messages if text.startswith(FORMULA)]
    assert messages[-5:] == ["\\u202eevil", "a\\r\\nb", "plain", "a,b", 'say "x"']
    assert messages[0] == "'=cmd|' /C calc'!A1"
    assert set(rows[0]) == set(Letter.__struct_fields__)


def test_a_page_that_cannot_be_had_at_once_is_asked_for_again(reads, monkeypatch):
    """One of thousands that is in the way of something else must not cost the whole export."""
    monkeypatch.setattr(exports, "BUSY_S", 0)
    ask, turns = reads.runs, itertools.count()

    async def every_other_is_busy(wanted, sort, page):
        if next(turns) % 2:
            raise Busy("too much at once")
        return await ask(wanted, sort, page)

    monkeypatch.setattr(reads, "runs", every_other_is_busy)
    answer = client(console(reads)).get(f"{API}/runs?format=ndjson&limit=4")
    found = [json.loads(line)["run_id"] for line in answer.text.split("\n")[:-1]]
    assert sorted(found) == sorted(reads.lives)


async def test_http_1_0_has_no_export(reads):
    """There an answer ends with its connection: what is cut short could not be told from what is whole."""
    async with serving(console(reads)) as session:
        for version, status in ((aiohttp.HttpVersion10, 505), (aiohttp.HttpVersion11, 200)):
            session._version = version
            async with session.get(f"{API}/runs?format=csv") as answer:
                assert answer.status == status


async def test_only_so_many_exports_at_the_same_time(reads, monkeypatch):
    """Each asks for hundreds of pages."""
    monkeypatch.setattr(routes, "MOST_EXPORTS", 1)
    ask, goes_on = reads.runs, asyncio.Event()

    async def wait_behind_the_first(wanted, sort, page):
        if page.cursor is not None:
            await goes_on.wait()
        return await ask(wanted, sort, page)

    monkeypatch.setattr(reads, "runs", wait_behind_the_first)
    async with serving(console(reads)) as session:
        first = await session.get(f"{API}/runs?format=csv")
        async with session.get(f"{API}/runs?format=csv") as refused:
            assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        goes_on.set()
        assert len(await first.read()) > 0
        async with session.get(f"{API}/runs?format=csv") as again:
            assert again.status == 200, "the place is free again"


async def test_what_is_cut_short_can_be_told_from_what_is_whole(reads, monkeypatch):
    """The connection ends before the answer does: every client takes that for an error."""
    ask = reads.runs

    async def second_is_busy(wanted, sort, page):
        if page.cursor is not None:
            raise Busy("too much at once")
        return await ask(wanted, sort, page)

    monkeypatch.setattr(reads, "runs", second_is_busy)
    monkeypatch.setattr(exports, "BUSY_S", 0)
    with capture_logs() as said:
        async with serving(console(reads)) as session:
            answer = await session.get(f"{API}/runs?format=ndjson&limit=5")
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await eventually(lambda: said)
    assert [line["event"] for line in said] == ["an answer was cut short"]


def test_head_of_an_export_asks_for_no_more_than_a_page(reads):
    answer = client(console(reads)).head(f"{API}/runs?format=csv")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
