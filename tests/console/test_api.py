"""What the API answers, over a made-up fleet: each endpoint, its parameters, its problems."""

import re
import sqlite3
from html import unescape

import httpx2
import pytest

from streamproc.console.access import Access
from streamproc.console.answers.common import Rebuild
from streamproc.console.api.endpoints import ENDPOINTS
from streamproc.console.qualifiers import FLAGS, LISTS
from streamproc.console.reads import BadCursor, Busy, Changed
from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.notify.links import page_of
from streamproc.settings.console import ConsoleSettings
from tests.support.consoleapi import Actions, Reads, client, console, tokens
from tests.support.fleet import HOSTILE, NOW_MS

API = "/api/v1"
PROBLEM = "application/problem+json"
NAMES = [name for name in HOSTILE if name not in {".", ".."}]
"""Clients take the two for steps in a path."""


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
def asking(reads):
    return client(console(reads))


def quoted(text: str) -> str:
    """Escape every byte: no client has an opinion about the rest."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


def refused(answer, status: int, *words: str) -> dict:
    """Return a problem as RFC 9457 has it, which names the words."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    said = answer.json()
    assert {"type", "title", "status", "detail"} <= set(said)
    assert said["status"] == status
    assert [word for word in words if word not in said["detail"]] == [], said["detail"]
    return said


# Endpoints


def paths() -> dict[str, str]:
    run = next(iter(Reads().lives))
    letter = Reads().mail[0]
    names = {"run_id": run, "partition": letter.partition, "offset": letter.offset}
    return {endpoint.path: endpoint.path.format(**names) for endpoint in ENDPOINTS}


@pytest.mark.parametrize("path", paths().values(), ids=list(paths()))
def test_each_endpoint_answers_as_of_some_moment(asking, path):
    answer = asking.get(f"{API}{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["as_of"]) == {"partitions", "behind_s", "rebuild", "notes"}


@pytest.mark.parametrize("path", paths().values(), ids=list(paths()))
def test_an_unknown_parameter_is_refused(asking, path):
    """A filter that is misspelt would show everything, and look as if it had worked."""
    refused(asking.get(f"{API}{path}?stauts=failed"), 400, "'stauts' is no parameter here")


@pytest.mark.parametrize("path", paths().values(), ids=list(paths()))
def test_what_answers_get_answers_head_and_options(asking, path):
    got, head, options = (asking.request(method, f"{API}{path}") for method in ("GET", "HEAD", "OPTIONS"))
    assert (head.status_code, head.headers["content-type"]) == (200, got.headers["content-type"])
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, OPTIONS", b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("TRACE", "/runs", "GET, HEAD, OPTIONS"),
        ("DELETE", "/runs/run_1", "GET, HEAD, OPTIONS"),
        ("GET", "/dead-letters/replay", "OPTIONS, POST"),
        ("PUT", "/stream", "GET, HEAD, OPTIONS"),
        ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_told_which_there_are(reads, monkeypatch, method, path, allowed):
    app = console(reads)
    monkeypatch.setattr(Access, "allows", lambda *_: True)
    answer = client(app).request(method, f"{API}{path}")
    refused(answer, 405, method, allowed)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", [API, f"{API}/", f"{API}/nothing", f"{API}/runs/", f"{API}/runs/a/b", f"{API}/runs/a%0ab", "/api/v2/runs"]
)
def test_what_there_is_no_path_for_is_a_problem(asking, path):
    refused(asking.get(path), 404)


# Runs


@pytest.mark.parametrize("name", LISTS)
def test_values_may_be_repeated(asking, reads, name):
    field = {"assistant": "assistant_id", "thread": "thread_id", "error": "error_code"}.get(name, name)
    values = sorted({getattr(life.run, field) for life in reads.lives.values()} - {None})[:2]
    answer = asking.get(f"{API}/runs", params={name: values, "limit": 200}).json()
    assert {item[field] for item in answer["items"]} == set(values)


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_are_true_or_left_out(asking, flag):
    everything = asking.get(f"{API}/runs").json()["total"]
    assert asking.get(f"{API}/runs?{flag}=true").json()["total"] < everything
    assert asking.get(f"{API}/runs?{flag}=false").json()["total"] == everything
    refused(asking.get(f"{API}/runs?{flag}=yes"), 400, flag, "true or false")


def test_the_bars_filter_and_parameters_hold_together(asking):
    both = asking.get(f"{API}/runs", params={"q": "status:failed is:ended", "id": "run_", "limit": 200}).json()
    assert both["items"]
    assert all(item["status"] == "failed" and item["run_id"].startswith("run_") for item in both["items"])


def test_runs_by_age_metadata_and_order(asking):
    items = asking.get(f"{API}/runs", params={"older": "30m", "sort": "since", "limit": 200}).json()["items"]
    since = [item["status_since"] for item in items]
    assert since == sorted(since)
    assert max(since) <= NOW_MS - 30 * 60_000
    named = HOSTILE[3]
    found = asking.get(f"{API}/runs", params={"meta": f"{named}:{named}"}).json()
    assert [item["run_id"] for item in found["items"]] == [named]
    assert (found["is_partial"], found["total"]) == (True, None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", ["limit", "1 to 200"]),
        ("limit=201", ["limit", "1 to 200"]),
        ("limit=ten", ["limit", "1 to 200"]),
        ("limit=%D9%A1", ["limit"]),
        ("limit=" + "9" * 5_000, ["limit"]),
        ("limit=1&limit=2", ["limit", "once"]),
        ("sort=name", ["sort", "-since, since, deadline"]),
        ("format=xml", ["format", "json, csv, ndjson"]),
        ("older=5", ["90s, 10m"]),
        ("meta=team", ["meta", "KEY:VALUE"]),
        ("meta=:x", ["meta", "KEY:VALUE"]),
        ("q=state:failed", ["'state' is no qualifier"]),
        ("q=" + "x" * 2_001, ["q", "2,000"]),
        ("&".join(["thread=t"] * 51), ["thread", "50"]),
        ("cursor=none", []),
    ],
)
def test_a_wrong_parameter_is_named_with_what_it_may_be(asking, query, words):
    refused(asking.get(f"{API}/runs?{query}"), 410 if query.startswith("cursor") else 400, *words)


def test_pages_follow_each_other(asking, reads):
    seen, cursor = [], None
    while True:
        page = asking.get(f"{API}/runs", params={"limit": 100, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["run_id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(seen) == sorted(reads.lives)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("base_path", ["", "/runs"])
def test_a_run_is_found_by_whatever_id_it_has(reads, name, base_path):
    """Slashes, line breaks, markup, marks of direction, control characters; and they come back as they are, inert."""
    asking = client(console(reads, base_path=base_path))
    found = asking.get(f"{base_path}{API}/runs/{quoted(name)}")
    assert found.status_code == 200, found.text
    assert found.json()["run"]["run_id"] == name
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"
    history = asking.get(f"{base_path}{API}/runs/{quoted(name)}/history")
    assert {step["message"] for step in history.json()["items"]} == {name}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("base_path", ["", "/runs"])
async def test_an_alert_leads_to_the_page_of_its_run(reads, name, base_path):
    """Whatever the run is called; no line break ends the id."""
    site = httpx2.ASGITransport(console(reads, base_path=base_path), client=("127.0.0.1", 1))
    async with httpx2.AsyncClient(transport=site) as asking:
        found = await asking.get(page_of(f"http://127.0.0.1:8081{base_path}", name))
    assert found.status_code == 200, found.text
    assert unescape(re.findall(r'data-of-run="([^"]*)"', found.text)[0]) == name


def test_payloads_are_a_right_of_their_own(reads, tmp_path):
    shown = tokens(tmp_path / "tokens", ada="viewer", paul="viewer,payloads")
    asking = client(console(reads, access=Access(ConsoleSettings(tokens_file=tmp_path / "tokens"))))
    letter = reads.mail[0]
    for path in (f"/runs/{next(iter(reads.lives))}", f"/dead-letters/{letter.partition}/{letter.offset}"):
        objects = {
            name: asking.get(f"{API}{path}", headers={"authorization": f"Bearer {shown[name]}"}).json()["object"]
            for name in shown
        }
        assert objects["ada"] is None
        assert objects["paul"] is not None


# The others


def test_alerts_letters_windows_and_values_take_their_filters(asking):
    alerts = asking.get(f"{API}/alerts", params={"state": "firing", "limit": 200}).json()["items"]
    assert {alert["state"] for alert in alerts} == {"firing"}
    letters = asking.get(f"{API}/dead-letters", params={"open": "true", "limit": 200}).json()["items"]
    assert {letter["replayed_at"] for letter in letters} == {None}
    hour = {"since": NOW_MS - 3_600_000, "until": NOW_MS, "size": 300}
    windows = asking.get(f"{API}/metrics", params=hour).json()
    assert (windows["size_s"], len(windows["items"])) == (300, 12)
    values = asking.get(f"{API}/values", params={"qualifier": "status", "prefix": "c"}).json()["items"]
    assert {"cancelled", "completed"} == {value for value, _ in values}
    refused(asking.get(f"{API}/alerts?state=open"), 400, "state", "firing, resolved, over")
    refused(asking.get(f"{API}/metrics?since=-1"), 400, "since")


@pytest.mark.parametrize("place", ["x/1", "1/x", "-1/1", "1/-1", "1/" + "9" * 30, "1000001/1", "\u0661/1", "1.0/2"])
def test_a_letter_is_named_by_two_numbers(asking, place):
    refused(asking.get(f"{API}/dead-letters/{place}"), 400, "a number from 0 to")


# Problems


@pytest.mark.parametrize("path", ["/runs/run_none", "/runs/run_none/history", "/dead-letters/0/1"])
def test_what_is_only_late_is_not_here_yet(asking, reads, path):
    reads.as_of.behind_s = 12.4
    answer = asking.get(f"{API}{path}")
    said = refused(answer, 503, "not here yet", "12 s behind")
    assert answer.headers["retry-after"] == "2"
    assert said["as_of"]["behind_s"] == 12.4
    reads.as_of.behind_s = 0.0
    answer = asking.get(f"{API}{path}")
    refused(answer, 404, "all that Kafka has was read")
    assert "retry-after" not in answer.headers


def test_what_is_rebuilt_says_how_far_it_is(asking, reads):
    reads.as_of.behind_s = 5.0
    reads.as_of.rebuild = Rebuild(records_read=10, records_left=90, fraction=0.1, seconds_left=45.0)
    said = refused(asking.get(f"{API}/runs/run_none"), 503, "not here yet")
    assert said["as_of"]["rebuild"]["seconds_left"] == 45.0


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (BadCursor("the cursor is of another list"), 410, ["another list"]),
        (Busy("the query took too long"), 503, ["too long"]),
        (sqlite3.DatabaseError("file /secret is damaged"), 503, ["being rebuilt"]),
        (BrokerUnavailable("Kafka does not answer\nforged"), 503, ["not answer\\nforged"]),
    ],
)
def test_what_is_foreseen_is_a_problem(asking, reads, failure, status, words):
    reads.failure = failure
    answer = asking.get(f"{API}/runs")
    refused(answer, status, *words)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "secret" not in answer.text


def test_a_problem_while_telling_of_another_is_one_too(asking, reads, monkeypatch):
    async def busy():
        raise Busy("too much at once")

    monkeypatch.setattr(reads, "health", busy)
    refused(asking.get(f"{API}/runs/run_none"), 503, "too much")


# The one action


@pytest.fixture
def actions():
    return Actions()


@pytest.fixture
def acting(reads, actions, monkeypatch):
    app = console(reads, actions)
    monkeypatch.setattr(Access, "allows", lambda *_: True)
    return client(app)


def test_a_replay_is_asked_for_and_confirmed(acting, actions):
    path = f"{API}/dead-letters/replay"
    dry = acting.post(path, json={"dry_run": True, "reason": "undecodable", "places": [[0, 7]]})
    assert (dry.status_code, dry.json()["to_replay"]) == (200, 3)
    done = acting.post(path, json={"dry_run": False, "expected": 3, "open_only": False})
    assert done.json()["replayed"] == 3
    assert [(asked[0], asked[1].reason, *asked[2:]) for asked in actions.asked] == [
        ("local", "undecodable", [(0, 7)], True, None),
        ("local", None, [], False, 3),
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["no such request"]),
        (b"[]", ["no such request"]),
        (b"\xff", ["no such request"]),
        (b"[" * 50_000, ["no such request"]),
        (b"{}", ["dry_run"]),
        (b'{"dry_run": false}', ["expected"]),
        (b'{"dry_run": true, "all": true}', ["all"]),
        (b'{"dry_run": true, "partition": -1}', ["partition"]),
        (b'{"dry_run": true, "reason": "\\ud800"}', ["no such request"]),
        (b'{"dry_run": true, "places": [[0]]}', ["places"]),
        (b" " * 100_001, ["100,000 bytes"]),
    ],
)
def test_a_body_that_is_no_request_is_refused(acting, actions, body, words):
    refused(acting.post(f"{API}/dead-letters/replay", content=body), 400, *words)
    assert actions.asked == []


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Changed(4), 409, ["4 such letters"]),
        (ConfigError("reason 'x' is none"), 409, ["is none"]),
        (BrokerUnavailable("Kafka does not answer"), 503, ["Kafka"]),
        (TaskInvalid("the transaction failed"), 503, ["transaction"]),
    ],
)
def test_a_replay_that_fails_says_why(acting, actions, failure, status, words):
    actions.failure = failure
    said = refused(acting.post(f"{API}/dead-letters/replay", json={"dry_run": True}), status, *words)
    assert said.get("now") == (4 if isinstance(failure, Changed) else None)


# Behind a base path


def test_everything_is_below_the_base_path(reads):
    asking = client(console(reads, base_path="/ops/runs"), follow_redirects=False)
    assert asking.get(f"/ops/runs{API}/runs").status_code == 200
    refused(asking.get(f"{API}/runs"), 404, "/ops/runs/")
    inside = asking.get("/ops/runs", headers={"host": "127.0.0.1:1"})
    assert (inside.status_code, inside.headers["location"]) == (307, "/ops/runs/"), "whatever host a proxy has"


def test_the_description_says_where_the_api_is_and_how_to_come_in(reads):
    asking = client(console(reads, base_path="/ops"))
    said = asking.get(f"/ops{API}/openapi.json").json()
    assert said["servers"] == [{"url": "/ops/api/v1"}]
    assert said["security"] == [{}]
