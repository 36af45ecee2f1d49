"""Each page says what the read model says, and its links stay behind the base path."""

import re

import httpx2
import pytest
from markupsafe import escape
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from streamproc.console.answers.common import Rebuild
from streamproc.console.pages.guard import POLICY
from streamproc.console.pages.links import Links
from streamproc.console.pages.reports import MAX_LOGGED
from streamproc.console.qualifiers import Filter
from streamproc.console.reads import Busy
from tests.support.console import VIEWER, FakeReads, Site
from tests.support.fleet import HOSTILE, NOW_MS

READ_BY_SCRIPT = re.compile(r'(?:data-[a-z-]+|value)="[^"]*"')
"""Attributes that hold a name as it is: nothing shows them."""
INERT = HOSTILE[:4]
ROOTS = ("", "/ops/console")
PAGES = ("/", "/runs", "/alerts", "/alerts?state=all", "/dead-letters", "/dead-letters/0/900", "/pipeline")


@pytest.fixture
def site():
    return Site(FakeReads())


@pytest.fixture
def client(site):
    return TestClient(site)


def address(run_id, **query):
    return Links("").run(run_id, **query)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("root", ROOTS)
def test_every_link_stays_behind_the_base_path(site, page, root):
    """Behind a proxy, an absolute link without it leads somewhere else."""
    text = TestClient(site, root_path=root).get(page).text
    found = re.findall(r'(?:href|src|action)="(/[^"]*)"', text)
    assert len(found) >= 10
    assert [link for link in found if not link.startswith(f"{root}/")] == []
    assert f'data-root="{root}"' in text


@pytest.mark.parametrize(
    "page", [*PAGES, "/nothing", "/runs/nope", "/static/console.js", "/complete", "/?fragment=figures"]
)
def test_every_answer_forbids_whatever_is_not_ours(client, page):
    headers = client.get(page).headers
    assert headers["content-security-policy"] == POLICY.format(root="")
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_inline_script_or_style(client, page):
    """The policy would not let it run."""
    text = client.get(page).text
    assert re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=\"", text) is None


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_names_are_only_shown(site, name):
    """Markup, quotes, control characters, marks of direction: in each page that has them, the words and no more."""
    # Starlette's test client takes escapes out of a path twice.
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(site), base_url="http://console.example")
    for page in (address(name), address(name, fragment="peek"), Links("").runs(Filter(run_id=name))):
        response = await client.get(page)
        assert response.status_code == 200, page
        text = READ_BY_SCRIPT.sub("", response.text)
        assert name not in INERT or escape(name) in text
        assert not re.search(r"<script>alert|<img|<svg onload|href=.javascript:| onmouseover=.alert", text)
        assert {char for char in text if not char.isprintable()} <= {"\n"}


def test_a_page_of_hostile_names_is_small(client):
    """A megabyte of metadata is cut, not sent."""
    for page in (address(HOSTILE[0]), "/runs"):
        assert len(client.get(page).content) < 200_000


def test_a_long_value_is_cut_and_told(client):
    assert "1,048,576 characters" in client.get(address(HOSTILE[0])).text


def test_overview_shows_the_oldest_beside_its_limit(client, site):
    text = client.get("/").text
    queued = text[text.index("status%3Aqueued") :]
    row = queued[: queued.index("</tr>")]
    assert "5m</span>" in row
    assert 'data-as="age"' in row
    assert "% of the limit used" in row


@pytest.mark.parametrize(("chart", "line"), [("runs", "succeeded"), ("tokens", "prompt"), ("durations", "running")])
def test_overview_draws_the_chart_that_is_asked_for(client, chart, line):
    text = client.get(f"/?chart={chart}&range=24h").text
    assert f"<bdi>{line}</bdi>" in text
    assert "windows of 5m" in text


def test_runs_narrow_by_the_query_of_the_url(client):
    text = client.get("/runs", params={"q": "status:failed"}).text
    rows = re.findall(r"<tr data-run.*?</tr>", text, re.DOTALL)
    assert rows
    assert all("failed" in row for row in rows)
    assert 'value="status:failed"' in text


def test_runs_page_on_and_back(client):
    """Keyset cursors go on only: the way back is in the URL."""
    first = client.get("/runs").text
    on = re.search(r'rel="next" href="([^"]*)"', first)[1].replace("&amp;", "&")
    second = client.get(on).text
    third = client.get(re.search(r'rel="next" href="([^"]*)"', second)[1].replace("&amp;", "&")).text
    back = re.search(r'rel="prev" href="([^"]*)"', third)[1].replace("&amp;", "&")
    ids = re.compile(r'data-run="([^"]*)"')
    assert ids.findall(client.get(back).text) == ids.findall(second)
    home = re.search(r'rel="prev" href="([^"]*)"', second)[1].replace("&amp;", "&")
    assert ids.findall(client.get(home).text) == ids.findall(first)


def test_runs_say_when_they_looked_in_part_and_cannot_count(client):
    text = client.get("/runs", params={"q": "meta.team:core"}).text
    assert "looked through in part" in text
    assert "runs on this page" in text


@pytest.mark.parametrize(("asked", "said"), [({"q": "foo:bar"}, "is no qualifier"), ({"sort": "x"}, "sorted by")])
def test_a_query_that_is_none_comes_back_with_what_is_wrong(client, asked, said):
    response = client.get("/runs", params=asked)
    assert response.status_code == 400
    assert said in response.text
    assert f'value="{asked.get("q", "")}"' in response.text


def test_a_cursor_that_is_gone_leads_to_the_first_page(client):
    response = client.get("/runs?q=is%3Aopen&cursor=gone")
    assert response.status_code == 400
    assert 'href="?q=is%3Aopen"' in response.text


def test_a_run_that_is_not_here_says_how_far_the_read_model_is(client, site):
    site.reads.as_of.behind_s = 12
    response = client.get("/runs/run_of_a_moment_ago")
    assert response.status_code == 404
    assert "12s behind" in response.text
    assert "data-awaited" in response.text


def test_busy_is_a_page_with_a_hint(client, site):
    site.reads.failure = Busy()
    response = client.get("/runs")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "try again" in response.text


def test_an_address_that_is_none_is_a_page(client):
    response = client.get("/nothing")
    assert response.status_code == 404
    assert "There is no such page." in response.text


def test_payloads_and_replay_are_for_who_has_the_right(client, site):
    run = next(iter(site.reads.lives))
    for page, secret in ((address(run), "parallel_tool_calls"), ("/dead-letters/0/900", "thread.run.created")):
        site.caller = VIEWER
        seen = client.get(page).text
        assert secret not in seen
        assert "no right to payloads" in seen
    for page in ("/dead-letters", "/dead-letters/0/900"):
        assert "data-replay" not in client.get(page).text


def test_links_of_a_run_lead_to_the_web_only(client, site):
    """A template of links is the operator's; what comes into it is anybody's."""
    text = client.get(address(next(iter(site.reads.lives)))).text
    assert "https://traces.example/?run=1&amp;a=&lt;b&gt;" in text
    assert "javascript:" not in text


def test_a_rebuild_is_told_on_every_page(client, site):
    site.reads.as_of.rebuild = Rebuild(records_read=10, records_left=30, fraction=0.25, seconds_left=62.0)
    for page in PAGES:
        text = client.get(page).text
        assert "The read model is being built." in text
        assert "25.0 %, 30 records to go, 1m 02s left" in text


def test_notes_of_the_answer_are_in_the_foot(client, site):
    site.reads.as_of.notes = ["run-verdicts is missing: <b>"]
    assert "run-verdicts is missing: &lt;b&gt;" in client.get("/pipeline").text


def test_lineage_shows_each_arrival_with_verdict_and_place(client, site):
    life = next(life for life in site.reads.lives.values() if len(life.steps) > 4)
    text = client.get(address(life.run.run_id)).text
    for step in life.steps:
        assert f"{step.offset}</span>" in text
        assert (step.verdict or step.state) in text


def test_pipeline_shows_restores_pauses_and_who_is_missing(client):
    text = client.get("/pipeline").text
    for words in ("62.0 %, 48s left", "the registry does not answer", "unowned", "nobody", "no report"):
        assert words in text


def test_fragments_are_parts_with_a_foot(client):
    text = client.get("/?fragment=figures").text
    assert "<html" not in text
    assert "data-foot" in text


@pytest.mark.parametrize("part", ["nothing", "../base", "x" * 500])
def test_a_fragment_that_is_none_is_the_page(client, part):
    assert "<html" in client.get("/", params={"fragment": part}).text


def test_files_may_be_kept_for_as_long_as_their_content_is_the_same(client):
    style = re.search(r'href="(/static/console\.css\?v=\w+)"', client.get("/").text)[1]
    response = client.get(style)
    assert "immutable" in response.headers["cache-control"]
    assert client.get(style, headers={"if-none-match": response.headers["etag"]}).status_code == 304
    assert client.get("/static/console.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/../pages/routing.py").status_code == 404


def test_the_keys_of_a_list_are_those_of_its_rows(client, site):
    """A run that enters another status gets another one."""
    shown = re.findall(r'data-key="(\w+)"', client.get("/runs").text)
    assert client.get("/runs?fragment=keys").json()["keys"] == shown
    assert len(set(shown)) == len(shown) > 1
    site.reads.move(next(run_id for run_id, life in site.reads.lives.items() if life.run.is_open), "completed")
    first, *_ = client.get("/runs?fragment=keys").json()["keys"]
    assert first not in shown


def test_completion_offers_values_with_their_counts(client):
    items = client.get("/complete", params={"qualifier": "status", "prefix": "c"}).json()["items"]
    assert {value for value, _ in items} == {"completed", "cancelled"}


@pytest.mark.parametrize("place", ["0/x", "x/0", f"0/{'9' * 5_000}", "7/7"])
def test_a_letter_that_is_none_is_not_found(client, place):
    assert client.get(f"/dead-letters/{place}").status_code in {400, 404}


def test_reports_of_the_browser_are_counted_by_a_closed_set_of_words(client):
    """What else is in them is anybody's text, and as much as anybody likes."""
    reports = [
        {"effective-directive": "script-src"},
        {"violated-directive": "img-src x"},
        {"effective-directive": "<b>"},
    ]
    with capture_logs() as logged:
        for report in reports:
            assert client.post("/csp-report", json={"csp-report": report}).status_code == 204
        for body in (b"{", b"[]", b"null", b"[" * 100_000, b"x" * 20_000):
            assert client.post("/csp-report", content=body).status_code in {204, 413}
        for _ in range(MAX_LOGGED):
            client.post("/csp-report", json={"csp-report": reports[0]})
    assert [line["directive"] for line in logged[:4]] == ["script-src", "img-src", "other", "other"]
    assert len(logged) == MAX_LOGGED


def test_times_are_utc_for_machines_and_short_for_people(client):
    text = client.get("/runs").text
    assert re.search(r'<time datetime="2026-12-02T11:[^"]*Z" data-as="" title="[^"]*">11:\d\d:\d\d</time>', text)
    assert f'data-now="{NOW_MS}"' in text
