"""`streamproc runs` on the fake: which runs there are, and why one is where it is."""

import io

import pytest
from rich.console import Console

from streamproc.core.deadlines import Deadlines
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.records.runlines import story_lines, table
from streamproc.records.runstates import RunContext, Wanted, list_runs, story
from streamproc.times import span
from tests.support.application import Application, application
from tests.support.runobjects import START_MS
from tests.support.waiting import eventually

LIMITS = Deadlines(limits={"queued": 300_000}, assistants={"asst_2": {"queued": 60_000}})
PLACE = RunContext("run-events", LIMITS, ASSISTANTS)
HOSTILE = "\x1b[2J[red]\u202egnp\r\nforged\x07"


@pytest.fixture
async def app() -> Application:
    """Three runs on two partitions, one of which has ended and was said otherwise later."""
    it = await application(partitions=2)
    it.send("queued", "run_1", at_ms=START_MS, assistant_id="asst_1", model="gpt-4o")
    it.send("completed", "run_1", at_ms=START_MS + 5_000, assistant_id="asst_1", model="gpt-4o")
    it.send("in_progress", "run_1", at_ms=START_MS + 6_000)
    it.send("failed", "run_1", at_ms=START_MS + 7_000)
    it.send("queued", "run_2", partition=1, at_ms=START_MS - 9_000, assistant_id="asst_2")
    expired = {"assistant_id": "asst_2", "expires_at": START_MS // 1000}
    it.send("in_progress", "run_3", partition=1, at_ms=START_MS + 1_000, **expired)
    async with it.working():
        await eventually(lambda: it.told.records == 6)
    return it


async def ids(app: Application, **wanted) -> list[str]:
    states, count = await list_runs(app.kafka, app.topics, PLACE, Wanted(**wanted))
    assert len(states) == min(count, wanted.get("limit", count))
    return [state["run_id"] for state in states]


async def test_those_are_first_that_have_been_in_their_status_longest(app):
    assert await ids(app) == ["run_2", "run_3", "run_1"]
    assert await ids(app, limit=2) == ["run_2", "run_3"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"statuses": frozenset({"queued", "in_progress"})}, ["run_2", "run_3"]),
        ({"assistant": "asst_1"}, ["run_1"]),
        ({"model": "gpt-4o"}, ["run_1"]),
        ({"since_ms": START_MS}, ["run_2"]),
        ({"statuses": frozenset({"queued"}), "assistant": "asst_1"}, []),
    ],
)
async def test_only_those_that_are_wanted_are_listed(app, wanted, expected):
    """All that is said of them has to hold; by the latest state, not by one before."""
    assert sorted(await ids(app, **wanted)) == expected


async def test_a_state_says_what_run_state_says_and_its_limits(app):
    by_id = {state["run_id"]: state for state in (await list_runs(app.kafka, app.topics, PLACE, Wanted()))[0]}
    assert (by_id["run_1"]["source_topic"], by_id["run_1"]["source_partition"]) == ("run-events", 0)
    assert (by_id["run_1"]["source_offset"], by_id["run_1"]["deadline_at"]) == (1, None)
    assert by_id["run_2"]["deadline_at"] == START_MS - 9_000 + 60_000, "the assistant's own limit"
    assert (by_id["run_3"]["deadline_at"], by_id["run_3"]["overdue_at"]) == (None, START_MS)
    assert "event" not in by_id["run_1"]


async def test_a_forgotten_run_is_no_more_listed(app):
    app.kafka.logs["run-state"][0].append((b"run_1", None, START_MS, ()), "committed")
    assert await ids(app) == ["run_2", "run_3"]
    found = await story(app.kafka, app.topics, PLACE, "run_1")
    assert found.state is None
    assert "forgotten" in "\n".join(story_lines("run_1", found, START_MS))


async def test_a_run_is_told_with_all_that_became_of_its_events(app):
    """Changes, what was refused, and alerts, in the order of time."""
    found = await story(app.kafka, app.topics, PLACE, "run_1")
    assert found.state is not None
    assert found.state["status"] == "completed"
    told = [(each["what"], each.get("to_status") or each.get("reason") or each["kind"]) for each in found.history]
    assert told == [
        ("transitions", "queued"),
        ("transitions", "completed"),
        ("verdicts", "ended"),
        ("verdicts", "other_end"),
        ("alerts", "illegal"),
    ]


async def test_people_read_why_a_run_is_where_it_is(app):
    text = "\n".join(story_lines("run_2", await story(app.kafka, app.topics, PLACE, "run_2"), START_MS))
    assert "queued since 2024-05-31T23:59:51.000Z, for 9 s" in text
    assert "2024-06-01T00:00:51.000Z, in 51 s" in text
    assert "(new) → queued" in text
    late = "\n".join(story_lines("run_2", await story(app.kafka, app.topics, PLACE, "run_2"), START_MS + 3_600_000))
    assert "passed 59 min 9 s ago" in late


async def test_a_run_that_nobody_knows_is_not_called_missing(app):
    """It may be on its way."""
    with pytest.raises(ConfigError, match=r"no topic tells of run_9: it is not known yet .*or was forgotten"):
        await story(app.kafka, app.topics, PLACE, "run_9")


async def test_a_key_that_is_no_text_hides_nobody(app):
    app.kafka.logs["run-state"][0].append((b"\xff", None, START_MS, ()), "committed")
    assert await ids(app) == ["run_2", "run_3", "run_1"]


async def test_what_may_not_be_read_of_a_history_is_said_and_the_rest_told(app, monkeypatch):
    """Not everybody may read run-alerts."""
    count = app.kafka.partition_count

    async def hidden(topic: str) -> int:
        if topic == "run-alerts":
            raise BrokerUnavailable("run-alerts cannot be read")
        return await count(topic)

    monkeypatch.setattr(app.kafka, "partition_count", hidden)
    found = await story(app.kafka, app.topics, PLACE, "run_1")
    assert found.gaps == ["alerts are not all here: run-alerts cannot be read"]
    assert {each["what"] for each in found.history} == {"transitions", "verdicts"}
    assert "  alerts are not all here: run-alerts cannot be read" in story_lines("run_1", found, START_MS)


async def test_what_somebody_else_wrote_is_escaped():
    app = await application()
    app.send("queued", "run_1", model=HOSTILE, assistant_id=HOSTILE)
    async with app.working():
        await eventually(lambda: app.told.records == 1)
    lines = list(story_lines("run_1", await story(app.kafka, app.topics, PLACE, "run_1"), START_MS))
    console = Console(file=io.StringIO(), width=300)
    console.print(table((await list_runs(app.kafka, app.topics, PLACE, Wanted()))[0], START_MS))
    lines += console.file.getvalue().splitlines()
    assert all(each.isprintable() for each in lines)
    assert "[red]" in "".join(lines)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 s"), (999, "0 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h 0 min"), (90_061_000, "1 d 1 h")],
)
def test_a_length_of_time_is_told_in_two_units(milliseconds, text):
    assert span(milliseconds) == text
