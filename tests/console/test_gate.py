"""In front of everything: rates, headers, forged requests, and what nobody foresaw."""

from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from streamproc.console.access import Access
from streamproc.console.gate import BURST, MOST_CALLERS, PER_SECOND, AccessGate, Rates
from streamproc.settings.console import ConsoleSettings
from tests.support.consoleapi import Actions, Reads, basic, client, console, tokens

SECRET = "what nobody is to see"
PATHS = ["/api/v1/runs", "/api/v1/nothing", "/runs", "/nothing", "/livez"]


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# Rates


def test_a_burst_passes_and_then_so_many_a_second():
    clock = Clock()
    rates = Rates(clock)
    assert [rates.wait_s(("a", "")) for _ in range(int(BURST))] == [0.0] * int(BURST)
    assert rates.wait_s(("a", "")) == 1 / PER_SECOND
    assert rates.wait_s(("b", "")) == 0.0, "others do not wait"
    clock.now += 1.0
    passed = sum(rates.wait_s(("a", "")) == 0.0 for _ in range(100))
    assert passed == PER_SECOND
    clock.now += BURST
    assert rates.wait_s(("a", "")) == 0.0


def test_only_so_many_callers_are_remembered():
    """Who comes from ever new addresses must not fill the memory."""
    rates = Rates(Clock())
    for number in range(MOST_CALLERS + 10):
        rates.wait_s((str(number), ""))
    assert len(rates._spent) == MOST_CALLERS


def _gate(access: Access, clock: Clock) -> TestClient:
    return client(AccessGate(PlainTextResponse("in"), access, "", clock))


def test_who_asks_too_often_is_told_when_to_come_again(reads):
    clock = Clock()
    asking = _gate(Access(ConsoleSettings()), clock)
    assert {asking.get("/runs").status_code for _ in range(int(BURST))} == {200}
    answer = asking.get("/runs")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["title"] == "Too Many Requests"
    assert asking.get("/livez").status_code == 200, "a probe that is refused would have the console restarted"
    clock.now += 1.0
    assert asking.get("/runs").status_code == 200


def test_scrapes_are_limited_since_each_costs_a_query_and_are_nobodys_own(reads, file):
    """Rule: they need no credentials, so that anybody may send them; who has a token is not held up by that."""
    shown = tokens(file, ada="viewer")
    asking = _gate(Access(ConsoleSettings(tokens_file=file)), Clock())
    assert {asking.get("/metrics").status_code for _ in range(int(BURST))} == {200}
    assert asking.get("/metrics").status_code == 429
    assert asking.get("/runs", headers={"authorization": f"Bearer {shown['ada']}"}).status_code == 200


def test_each_caller_has_a_rate_and_those_who_are_refused_have_their_own(file):
    """Behind a proxy all have one address."""
    shown = tokens(file, ada="viewer", bob="viewer")
    asking = _gate(Access(ConsoleSettings(tokens_file=file)), Clock())
    ada, bob, wrong = ({"authorization": f"Bearer {token}"} for token in (shown["ada"], shown["bob"], "wrong"))
    assert {asking.get("/", headers=wrong).status_code for _ in range(int(BURST))} == {401}
    assert asking.get("/", headers=wrong).status_code == 429, "guessing is asking, too"
    assert {asking.get("/", headers=ada).status_code for _ in range(int(BURST))} == {200}
    assert asking.get("/", headers=ada).status_code == 429
    assert asking.get("/", headers=bob).status_code == 200


# Headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["127.0.0.1:8081", "evil.example"])
def test_every_answer_says_what_a_browser_may_not_do(reads, path, host):
    """Refusals, too."""
    answer = client(console(reads)).get(path, headers={"host": host})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_browser_is_asked_to_log_in(reads, file):
    shown = tokens(file, ada="viewer")["ada"]
    asking = client(console(reads, access=Access(ConsoleSettings(tokens_file=file))))
    answer = asking.get("/api/v1/runs")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.headers["content-type"] == "application/problem+json"
    assert asking.get("/api/v1/runs", headers={"authorization": basic("", shown)}).status_code == 200
    assert asking.get("/livez").json() == {"ok": True}, "probes have no token"


def test_a_base_path_opens_nothing(reads, file):
    tokens(file, ada="viewer")
    settings = ConsoleSettings(tokens_file=file, base_path="/runs")
    asking = client(console(reads, access=Access(settings), base_path="/runs"))
    statuses = {path: asking.get(path).status_code for path in ("/runs/livez", "/livez", "/runs/runs", "/runs//livez")}
    assert statuses == {"/runs/livez": 200, "/livez": 404, "/runs/runs": 401, "/runs//livez": 401}


# Forged requests


def replay(asking: TestClient, **said: str) -> int:
    body = {"dry_run": True}
    return asking.post("/api/v1/dead-letters/replay", json=body, headers={**said}).status_code


def test_an_action_that_a_foreign_page_could_send_is_refused(reads, file):
    """A browser sends the password along; it sends neither a bearer token nor a header of ours."""
    shown = tokens(file, olga="operator", ada="viewer")
    access = Access(ConsoleSettings(tokens_file=file, actions=True))
    actions = Actions()
    asking = client(console(reads, actions, access))
    by_password = {"authorization": basic("", shown["olga"])}
    assert replay(asking, **by_password) == 403
    assert replay(asking, **by_password, **{"x-csrf-token": "guessed"}) == 403
    assert actions.asked == []
    assert replay(asking, **by_password, **{"x-csrf-token": access._csrf("olga")}) == 200
    assert replay(asking, authorization=f"Bearer {shown['olga']}") == 200
    assert replay(asking, authorization=f"Bearer {shown['ada']}") == 403, "a viewer is no operator"
    assert [asked[0] for asked in actions.asked] == ["olga", "olga"]


def test_on_this_machine_an_action_takes_our_pages_too(reads):
    access = Access(ConsoleSettings(actions=True))
    asking = client(console(reads, Actions(), access))
    assert replay(asking) == 403
    assert replay(asking, **{"x-csrf-token": access._csrf("local")}) == 200


def test_by_default_it_only_reads(reads, file):
    shown = tokens(file, olga="operator")["olga"]
    asking = client(console(reads, access=Access(ConsoleSettings(tokens_file=file))))
    answer = asking.post(
        "/api/v1/dead-letters/replay", json={"dry_run": True}, headers={"authorization": f"Bearer {shown}"}
    )
    assert answer.status_code == 403
    assert "STREAMPROC_CONSOLE__ACTIONS" in answer.json()["detail"]


def test_a_report_of_a_browser_needs_nothing_of_ours(reads):
    assert client(console(reads)).post("/csp-report", content=b"{}").status_code == 204


# What nobody foresaw


@pytest.mark.parametrize("base_path", ["", "/console"])
@pytest.mark.parametrize("path", ["/api/v1/runs", "/runs"])
def test_what_nobody_foresaw_is_told_to_the_log_only(reads, base_path, path, capfd):
    reads.failure = ZeroDivisionError(SECRET)
    with capture_logs() as said:
        answer = client(console(reads, base_path=base_path)).get(base_path + path)
    assert answer.status_code == 500
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    [line] = said
    assert (line["event"], line["path"], line["log_level"]) == ("a request failed", base_path + path, "error")
    assert capfd.readouterr().err == ""
    if path.startswith("/api"):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 500


def test_what_fails_behind_its_beginning_is_told_to_the_log(reads):
    async def chunks():
        yield b"one"
        raise ZeroDivisionError(SECRET)

    with capture_logs() as said:
        answer = client(AccessGate(StreamingResponse(chunks()), Access(ConsoleSettings()), "")).get("/")
    assert (answer.status_code, answer.text) == (200, "one")
    assert [line["event"] for line in said] == ["a request failed"]
