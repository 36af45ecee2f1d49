"""`streamproc runs` of a console's API: the same as of the topics, and what is said where there is none."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from streamproc.console.access import Access
from streamproc.console.answers.runs import Step
from streamproc.errors import ConfigError, ConsoleUnavailable
from streamproc.records import remote
from streamproc.records.remote import RemoteConsole
from streamproc.records.runlines import story_lines, table
from streamproc.records.runstates import Wanted
from streamproc.settings.console import ConsoleSettings
from streamproc.web.server import HttpServer
from tests.support.consoleapi import Reads, console, tokens
from tests.support.fleet import HOSTILE, NOW_MS


@pytest.fixture
def reads() -> Reads:
    return Reads()


@asynccontextmanager
async def asking(app, token: str | None = None, path: str = ""):
    """Serve; yield what asks there."""
    async with HttpServer(app, "127.0.0.1", 0) as http:
        shown = None if token is None else SecretStr(token)
        async with RemoteConsole(f"http://127.0.0.1:{http.port}{path}", shown) as it:
            yield it


async def listed(reads: Reads, **wanted):
    async with asking(console(reads)) as it:
        return await it.runs(Wanted(**wanted), NOW_MS)


async def test_a_list_is_that_of_the_topics_by_name(reads):
    """Those first that have been in their status longest; every name that the table shows."""
    found = await listed(reads, limit=5)
    since = [state["status_since"] for state in found.states]
    assert since == sorted(since)
    assert (found.total, found.has_more, list(found.notes)) == (len(reads.lives), True, [])
    assert table(found.states, NOW_MS).row_count == 5


async def test_all_pages_are_followed(reads, monkeypatch):
    monkeypatch.setattr(remote, "PAGE", 50)
    everything = await listed(reads)
    assert {state["run_id"] for state in everything.states} == set(reads.lives)
    assert not everything.has_more
    some = await listed(reads, limit=120)
    assert (len(some.states), some.has_more) == (120, True)
    assert some.states == everything.states[:120]


async def test_only_those_that_are_wanted(reads):
    failed = await listed(reads, statuses=frozenset({"failed", "expired"}), since_ms=NOW_MS - 60_000)
    assert {state["status"] for state in failed.states} == {"failed", "expired"}
    run = next(iter(reads.lives.values())).run
    of_one = await listed(reads, assistant=run.assistant_id, model=run.model)
    assert {(state["assistant_id"], state["model"]) for state in of_one.states} == {(run.assistant_id, run.model)}
    assert (await listed(reads, since_ms=0)).states == []
    assert len((await listed(reads, since_ms=NOW_MS + 5_000)).states) == len(reads.lives), "no age is below 0"


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in {".", ".."} and "\n" not in name])
async def test_a_run_is_shown_whatever_id_it_has(reads, name):
    async with asking(console(reads)) as it:
        found, steps = await it.story(name)
    assert found.state["run_id"] == name
    assert len(steps) == len(found.history) == len(reads.lives[name].steps)
    assert all(text.isprintable() for text in story_lines(name, found, NOW_MS))


async def test_ids_that_are_steps_in_a_path_are_not_asked_for(reads):
    async with asking(console(reads)) as it:
        with pytest.raises(ConfigError, match="leave out --url"):
            await it.story("..")


async def test_each_step_has_a_line(reads):
    """Applied, refused, rejected, an alert: as the topics' records have them."""
    run_id, life = next((run_id, life) for run_id, life in reads.lives.items() if life.run.assistant_id)
    place = {"source_topic": "run-events", "source_partition": 1, "source_offset": 7}
    life.steps[:] = [
        Step("arrival", NOW_MS, NOW_MS, "applied", None, "queued", expected=True, **place),
        Step(
            "arrival", NOW_MS + 1, NOW_MS, "applied", "queued", "in_progress", in_from_ms=1_500, expected=True, **place
        ),
        Step("arrival", NOW_MS + 2, NOW_MS, "stale", "in_progress", "queued", reason="older_event", **place),
        Step("arrival", NOW_MS + 3, NOW_MS, "rejected", reason="bad_time", message="no time", **place),
        Step("alert", NOW_MS + 4, NOW_MS, kind="overdue", severity="warning", state="firing", message="late"),
    ]
    async with asking(console(reads)) as it:
        found, _ = await it.story(run_id)
    lines = list(story_lines(run_id, found, NOW_MS))[-5:]
    who = f"{life.run.assistant_id}  {life.run.model}"
    assert lines == [
        f"  2026-12-02T12:00:00.000Z  {run_id}  (new) → queued  {who}",
        f"  2026-12-02T12:00:00.001Z  {run_id}  queued → in_progress  after 1.5 s  {who}",
        f"  2026-12-02T12:00:00.002Z  {run_id}  stale (older_event)  is in_progress, was said queued  run-events:1:7",
        "  2026-12-02T12:00:00.000Z  bad_time  no time  run-events:1:7",
        "  2026-12-02T12:00:00.004Z  firing  warning  overdue  late",
    ]


async def test_how_far_it_is_behind_is_said(reads):
    reads.as_of.behind_s, reads.as_of.notes = 12.0, ["run-verdicts is not there"]
    found = await listed(reads, limit=1)
    assert list(found.notes) == ["the console is 12 s behind the topics", "run-verdicts is not there"]
    async with asking(console(reads)) as it:
        story, _ = await it.story(next(iter(reads.lives)))
    assert story.gaps == list(found.notes)


# What is no answer


async def test_what_is_late_may_be_asked_for_again_and_what_is_not_there_may_not(reads):
    reads.as_of.behind_s = 3.0
    async with asking(console(reads)) as it:
        with pytest.raises(ConsoleUnavailable, match=r"not here yet.*Ask again in 2 s"):
            await it.story("run_none")
        reads.as_of.behind_s = 0.0
        with pytest.raises(ConfigError, match="nothing is known"):
            await it.story("run_none")


async def test_a_token_is_shown_and_asked_for(reads, tmp_path):
    shown = tokens(tmp_path / "tokens", ada="viewer")["ada"]
    app = console(
        reads, access=Access(ConsoleSettings(tokens_file=tmp_path / "tokens", base_path="/ops")), base_path="/ops"
    )
    async with asking(app, shown, "/ops") as it:
        assert len((await it.runs(Wanted(limit=1), NOW_MS)).states) == 1
    for token in (None, "wrong-secret"):
        async with asking(app, token, "/ops") as it:
            with pytest.raises(ConfigError, match="STREAMPROC_CONSOLE__TOKEN") as refused:
                await it.runs(Wanted(), NOW_MS)
            assert "wrong-secret" not in str(refused.value)


async def test_nobody_there():
    async with RemoteConsole("http://127.0.0.1:9/secret-path", None) as it:
        with pytest.raises(ConsoleUnavailable, match=r"http://127\.0\.0\.1:9 does not answer") as refused:
            await it.runs(Wanted(), NOW_MS)
    assert "secret-path" not in str(refused.value)


@pytest.mark.parametrize("body", ["<html>", "[]", "null", '{"items": 1, "next": null, "as_of": {}}', '{"as_of": {}}'])
async def test_something_else_there(body):
    """A page, another service, another path of the console."""

    async def answer(request):
        return PlainTextResponse(body, headers={"content-type": "application/json"})

    async with asking(Starlette(routes=[Route("/{path:path}", answer)])) as it:
        with pytest.raises(ConfigError, match="no console"):
            await it.runs(Wanted(), NOW_MS)


async def test_a_path_that_is_none_of_the_consoles(reads):
    async with asking(console(reads), path="/elsewhere") as it:
        with pytest.raises(ConfigError, match="no console"):
            await it.runs(Wanted(), NOW_MS)


@pytest.mark.parametrize("settings", [{"url": "console:8081"}, {"url": "http://u:p@console"}, {"token": "a b"}])
def test_settings_that_cannot_be_used_are_refused(settings):
    with pytest.raises(ValidationError):
        ConsoleSettings(**settings)


def test_a_url_may_end_with_a_slash():
    assert ConsoleSettings(url="http://console:8081/ops/").url == "http://console:8081/ops"


# The command


async def test_the_command_asks_the_console(reads, tmp_path):
    """By option or setting; without any Kafka. `--json` prints the API's own items."""
    run_id = next(iter(reads.lives))
    async with HttpServer(console(reads), "127.0.0.1", 0) as http:
        url = f"http://127.0.0.1:{http.port}"
        code, said, told = await command("runs", "list", "--limit", "2", "--json", "--url", url)
        assert (code, told) == (0, "")
        assert [set(json.loads(line)) >= {"run_id", "deadline_at", "is_illegal"} for line in said.splitlines()] == [
            True
        ] * 2
        code, said, told = await command("runs", "list", "--limit", "2", CONSOLE__URL=url)
        assert (code, told.strip()) == (0, f"{len(reads.lives)} runs, the first 2 are shown")
        code, said, told = await command("runs", "show", run_id, "--json", CONSOLE__URL=url)
        assert (code, json.loads(said)["run_id"]) == (0, run_id)
        assert {step["what"] for step in json.loads(said)["history"]} <= {"arrival", "alert"}
        code, said, told = await command("runs", "show", run_id, "--url", url)
        assert (code, said.splitlines()[0]) == (0, run_id)
    code, _, told = await command("runs", "list", "--url", url)
    assert (code, "does not answer" in told) == (1, True)
    code, _, told = await command("runs", "list", "--url", "console")
    assert (code, "--url" in told) == (2, True)


async def command(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run it; return exit code, stdout, stderr."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
    own |= {f"STREAMPROC_{name}": value for name, value in settings.items()} | {"COLUMNS": "300"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamproc", *arguments, env=own, stdout=PIPE, stderr=PIPE
    )
    said, told = await process.communicate()
    return process.returncode or 0, said.decode(), told.decode()
