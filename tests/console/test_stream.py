"""The stream of events: as the HTML standard has server-sent events, resumed, filtered, bounded."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from streamproc.console.answers.runs import Step
from streamproc.console.api import routes
from streamproc.console.api.sending import LongAnswer, Slots
from streamproc.console.reads import Busy, Event, StreamFilter
from tests.support.consoleapi import Reads, console, next_event, serving
from tests.support.fleet import HOSTILE
from tests.support.waiting import eventually

PATH = "/api/v1/stream"
STEP = Step(what="arrival", at=1, recorded_at=2, to_status="failed", message="one\ntwo\r\nid: 3\n\nevent: forged")
FAILED = Event("t0-2.t1-7", "transition", HOSTILE[17], "asst_1", None, STEP)


@pytest.fixture
def reads() -> Reads:
    return Reads()


async def test_the_first_event_says_where_the_stream_begins(reads):
    """Else a client that is cut off before the first event could not go on where it was."""
    async with serving(console(reads)) as session, session.get(PATH) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert await next_event(answer) == {"retry": "2000"}
        first = await next_event(answer)
        assert (first["event"], first["id"], json.loads(first["data"])["step"]) == ("open", "t0-1", None)


async def test_an_event_is_one_block_whatever_is_in_it(reads):
    """A line break in a name must not end it, or make another event."""
    reads.batches = [[FAILED], [], [FAILED]]
    async with serving(console(reads)) as session, session.get(PATH) as answer:
        await next_event(answer)
        await next_event(answer)
        told = await next_event(answer)
        assert (told["event"], told["id"]) == ("transition", FAILED.id)
        said = json.loads(told["data"])
        assert (said["run_id"], said["step"]["message"]) == (HOSTILE[17], STEP.message)
        assert await next_event(answer) == {"": "nothing new"}
        assert (await next_event(answer))["event"] == "transition"


async def test_last_event_id_resumes_and_parameters_filter(reads):
    params = [("kind", "transition"), ("status", "failed"), ("status", "expired"), ("assistant", "a"), ("run_id", "r")]
    async with (
        serving(console(reads)) as session,
        session.get(PATH, params=params, headers={"last-event-id": "t0-2.t1-7"}) as answer,
    ):
        assert answer.status == 200
        await next_event(answer)
        assert await next_event(answer) == {"": "nothing new"}
    wanted = StreamFilter(frozenset({"transition"}), frozenset({"failed", "expired"}), "a", None, "r")
    assert reads.asked == [(wanted, "t0-2.t1-7")]


@pytest.mark.parametrize(
    ("query", "last_id", "status"),
    [("", "none of ours", 410), ("?kind=letter", "", 400), ("?since=1", "", 400), ("?run_id=a&run_id=b", "", 400)],
)
async def test_what_is_wrong_is_said_before_the_stream_begins(reads, query, last_id, status):
    async with (
        serving(console(reads)) as session,
        session.get(PATH + query, headers={"last-event-id": last_id} if last_id else {}) as answer,
    ):
        assert (answer.status, answer.content_type) == (status, "application/problem+json")


async def test_a_stream_that_is_foreseen_to_end_ends_in_order(reads):
    """The read model is rebuilt, say: the client comes again, with the last id."""
    reads.batches = [[FAILED], Busy("too much at once")]
    async with serving(console(reads)) as session, session.get(PATH) as answer:
        assert b"event: transition" in await answer.read()


async def test_only_so_many_streams_at_the_same_time_and_a_place_that_is_left_is_free(reads, monkeypatch):
    monkeypatch.setattr(routes, "MOST_STREAMS", 2)
    async with serving(console(reads)) as session:
        first, second = [await session.get(PATH) for _ in range(2)]
        async with session.get(PATH) as third:
            assert (third.status, third.headers["retry-after"]) == (503, "2")
            assert "2 streams" in (await third.json(content_type=None))["detail"]
        assert reads.open == 2
        first.close()
        await eventually(lambda: reads.open == 1)
        async with session.get(PATH) as fourth:
            assert fourth.status == 200
        second.close()
    await eventually(lambda: reads.open == 0)


async def test_what_is_refused_holds_no_place(reads, monkeypatch):
    monkeypatch.setattr(routes, "MOST_STREAMS", 1)
    async with serving(console(reads)) as session:
        for _ in range(3):
            async with session.get(PATH, headers={"last-event-id": "wrong"}) as answer:
                assert answer.status == 410
            async with session.head(PATH) as answer:
                assert (answer.status, answer.content_type) == (200, "text/event-stream")
            assert reads.open == 0


async def test_who_takes_nothing_is_no_more_served():
    """A reader that stands still holds a place, and would for ever."""
    slots = Slots(1, "streams")

    async def chunks():
        while True:
            yield b"x"

    async def send(message):
        await asyncio.Event().wait()

    place = AsyncExitStack()
    place.enter_context(slots.occupied())
    answer = LongAnswer(chunks(), place, {}, "text/event-stream", patience_s=0.01)
    with capture_logs() as said:
        await answer({"type": "http", "method": "GET", "path": PATH}, asyncio.Event().wait, send)
    assert slots.taken == 0
    assert [line["event"] for line in said] == ["a client took nothing more"]
