"""`streamproc tail` on the fake: what the service wrote, decoded, for people and for scripts."""

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from rich.console import Console

from streamproc.codec.instances import InstanceEncoder
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.printing import Consoles, ReaderGone
from streamproc.records import tailing
from streamproc.records.kinds import KINDS, document
from streamproc.records.lines import line
from streamproc.records.tailing import Tail, tail
from streamproc.runtime.ports import TopicPartition, Unreadable
from tests.support.application import Application, application
from tests.support.fake_kafka import FakeReader
from tests.support.instances import INSTANCE
from tests.support.runobjects import START_MS, Arrived
from tests.support.waiting import eventually

ENCODER = InstanceEncoder("app")
HOSTILE = "\x1b[2J[red]\u202egnp\r\nforged\x07"


@pytest.fixture
async def app() -> Application:
    """An application that has folded a few events of two runs, and rejected one."""
    it = await application(partitions=2)
    for status in ("queued", "in_progress", "in_progress", "completed", "failed"):
        it.send(status, "run_1", assistant_id="asst_1", model="gpt-4o")
    it.send("queued", "run_2", partition=1)
    it.send_bytes(b"[]", key=b"run_1")
    async with it.working():
        await eventually(lambda: it.told.records == 7)
        it.now_ms += 1_200_000
        await eventually(lambda: bool(it.outputs("metrics")))
    for message in (ENCODER.report(INSTANCE), ENCODER.tombstone("host-8-def", START_MS)):
        it.kafka.logs["run-instances"][0].append(message, "committed")
    return it


async def shown(app: Application, kind: str, **wanted: Any) -> list[str]:
    """Return the lines that there are."""
    consoles = Consoles(Console(file=io.StringIO()), Console(file=io.StringIO()))
    await tail(app.kafka, app.topics, Tail(kind, follow=False, **wanted), consoles)
    return consoles.out.file.getvalue().splitlines()


async def documents(app: Application, kind: str, **wanted: Any) -> list[dict[str, Any]]:
    return [json.loads(each) for each in await shown(app, kind, as_json=True, **wanted)]


async def test_transitions_are_told_field_by_field(app):
    """The public contract: the fields of the record by their names, and the record's place."""
    found = [each for each in await documents(app, "transitions") if each["run_id"] == "run_1"]
    assert [(each["from_status"], each["to_status"]) for each in found] == [
        (None, "queued"),
        ("queued", "in_progress"),
        ("in_progress", "completed"),
    ]
    assert found[0]["occurred_at"] == START_MS
    assert (found[2]["topic"], found[2]["partition"], found[2]["offset"]) == ("run-transitions", 0, 2)
    assert (found[2]["source_topic"], found[2]["source_offset"]) == ("run-events", 3)


async def test_verdicts_alerts_metrics_and_dead_letters_are_told(app):
    assert [(each["verdict"], each["reason"]) for each in await documents(app, "verdicts")] == [
        ("duplicate", "repeated"),
        ("illegal", "other_end"),
    ]
    assert {each["kind"] for each in await documents(app, "alerts")} >= {"illegal"}
    assert sum(each["created"] for each in await documents(app, "metrics")) == 2
    [letter] = await documents(app, "dead-letters")
    assert (letter["reason"], letter["source_topic"], letter["source_offset"]) == ("bad_framing", "run-events", 5)


async def test_instances_are_told_with_their_partitions(app):
    """rules.md 26: and that one was stopped."""
    found, stopped = await documents(app, "instances")
    assert (found["instance_id"], found["status"], len(found["partitions"])) == ("host-7-abc", "paused", 3)
    assert found["partitions"][1]["reason"] == "rejections"
    assert (stopped["instance_id"], stopped["stopped"]) == ("host-8-def", True)


async def test_a_states_event_is_in_base64(app):
    """JSON has no bytes."""
    [state] = await documents(app, "state", run_id="run_2")
    assert base64.b64decode(state["event"])
    assert (state["status"], state["usage"], state["required_tools"]) == ("queued", None, [])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("transitions", ["run_1", "queued → in_progress", "after 0.0 s", "asst_1", "gpt-4o"]),
        ("verdicts", ["run_1", "illegal (other_end)", "is completed, was said failed", "run-events:0:4"]),
        ("state", ["run_1", "completed", "since 2024-06-01T00:00:00.000Z", "asst_1"]),
        ("alerts", ["firing", "warning", "illegal", "run run_1 had ended as completed"]),
        ("metrics", ["revision 0", "asst_1", "created 1; ended succeeded 1"]),
        ("instances", ["host-7-abc", "1.2.3", "1 of 3 partitions go on", "128 MiB, 1.5 CPU-seconds", "paused: run-ev"]),
        ("instances", ["host-8-def  stopped"]),
        ("dead-letters", ["bad_framing", "run-events:0:5"]),
    ],
)
async def test_people_get_a_line_for_each_record(app, kind, words):
    found = await shown(app, kind)
    assert any(all(word in each for word in words) for each in found), found


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_damaged_or_foreign_is_told_and_holds_up_nothing(app, kind):
    log = app.kafka.logs[getattr(app.topics, KINDS[kind].role)][0]
    before = len(await shown(app, kind))
    for value in (b"", b"\xc3\x01unknown!?", log.stable(0)[0].value[:12]):
        log.append((b"key", value, START_MS, ()), "committed")
    found = await documents(app, kind)
    assert len(found) == before + 3
    assert [each["unreadable"] for each in found if "unreadable" in each]
    assert len(await shown(app, kind)) == before + 3


async def test_a_forgotten_run_is_told():
    place = ("run-state", 3)
    found = document(KINDS["state"], *place, Arrived(7, None, START_MS, b"run_1"))
    assert found == {
        "run_id": "run_1", "forgotten": True, "topic": "run-state", "partition": 3, "offset": 7, "timestamp": START_MS
    }  # fmt: skip
    assert line("state", found) == "2024-06-01T00:00:00.000Z  run_1  forgotten"


async def test_only_one_run_is_shown(app):
    for kind in ("transitions", "state"):
        assert {each["run_id"] for each in await documents(app, kind, run_id="run_2")} == {"run_2"}
    assert await documents(app, "dead-letters", run_id="run_2") == []
    assert len(await documents(app, "dead-letters", run_id="run_1")) == 1


async def test_what_somebody_else_wrote_is_escaped():
    app = await application()
    app.send("queued", "run_1", model=HOSTILE, assistant_id=HOSTILE)
    async with app.working():
        await eventually(lambda: app.told.records == 1)
    for kind in ("transitions", "state", "dead-letters"):
        found = await shown(app, kind) + await shown(app, kind, as_json=True)
        assert all(each.isprintable() for each in found)


async def followed(app: Application, consoles: Consoles, **wanted: Any) -> "asyncio.Task[None]":
    """Begin to follow the transitions, and wait until it stands at its beginning."""
    fetches = app.kafka.fetches["run-transitions"]
    task = asyncio.create_task(tail(app.kafka, app.topics, Tail("transitions", **wanted), consoles))
    await eventually(lambda: app.kafka.fetches["run-transitions"] >= fetches + 2 or task.done())
    return task


@pytest.mark.parametrize("from_beginning", [False, True])
async def test_what_comes_is_followed(app, from_beginning):
    """From now on, or from the beginning; until it is cancelled."""
    console = Console(file=io.StringIO())
    task = await followed(app, Consoles(console, Console(file=io.StringIO())), from_beginning=from_beginning)
    app.send("queued", "run_3", partition=1)
    async with app.working():
        await eventually(lambda: "run_3" in console.file.getvalue())
    assert ("run_2" in console.file.getvalue()) is from_beginning
    task.cancel()
    await asyncio.wait({task})


async def test_it_ends_when_nobody_reads_any_more(app, monkeypatch):
    """As behind `| head`: quietly, and with all of its partitions."""

    def gone(*_: object) -> None:
        raise ReaderGone

    monkeypatch.setattr(tailing, "write_line", gone)
    await asyncio.wait_for(
        tail(app.kafka, app.topics, Tail("state", from_beginning=True), Consoles(Console(), Console())), 60
    )


async def test_a_topic_that_is_not_there_is_named():
    app = Application()
    with pytest.raises(ConfigError, match="run-state does not exist: run `streamproc topics create`"):
        await shown(app, "state")
    app.topics = app.topics.model_copy(update={"verdicts": None})
    with pytest.raises(ConfigError, match="no verdicts are written under these settings"):
        await shown(app, "verdicts")


async def test_a_broker_that_does_not_answer_is_told_as_it_is(app, monkeypatch):
    """Not wrapped into a group of errors."""

    async def away(*_: object) -> Any:
        raise BrokerUnavailable("no broker answers")

    monkeypatch.setattr(app.kafka, "bounds", away)
    with pytest.raises(BrokerUnavailable, match="no broker answers"):
        await shown(app, "state")


async def test_what_keeps_it_from_going_on_is_said_once_while_it_follows(app, monkeypatch):
    """A permission that is missing, a broker that is away: it tries again."""
    monkeypatch.setattr(tailing, "RETRY_S", 0.001)
    tries = []

    async def refused(*_: object) -> Any:
        tries.append(1)
        raise BrokerUnavailable("run-transitions cannot be read: TopicAuthorizationFailed")

    monkeypatch.setattr("tests.support.fake_kafka.FakeReader.fetch", refused)
    consoles = Consoles(Console(file=io.StringIO()), Console(file=io.StringIO(), width=200))
    task = asyncio.create_task(tail(app.kafka, app.topics, Tail("transitions"), consoles))
    await eventually(lambda: len(tries) > 10 or task.done())
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert consoles.err.file.getvalue() == "run-transitions cannot be read: TopicAuthorizationFailed\n"


async def test_a_batch_that_cannot_be_read_is_passed_over(app, monkeypatch):
    """And said; the partitions beside it, and what lies behind it, are shown."""
    fetch, hit = FakeReader.fetch, []

    async def once_unreadable(self: FakeReader, *arguments: Any) -> Any:
        if self._partition == 0 and not hit:
            hit.append(1)
            raise Unreadable(TopicPartition("run-transitions", 0), 0, 1, "damaged")
        return await fetch(self, *arguments)

    monkeypatch.setattr(FakeReader, "fetch", once_unreadable)
    found = await documents(app, "transitions")
    assert {(each["partition"], each["offset"]) for each in found} == {(0, 2), (1, 0)}


async def test_a_run_id_that_is_no_utf_8_is_looked_for_as_it_is(app):
    """As the shell hands it on."""
    assert await documents(app, "state", run_id="\udcff") == []
