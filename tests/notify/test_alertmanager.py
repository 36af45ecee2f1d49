"""Push to Alertmanagers, over HTTP to servers that misbehave, from a topic in memory."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from streamproc.local.kafka import free_port
from streamproc.notify.board import AFTERWARDS_MS
from tests.support.alerts import MINUTE_MS, firing, resolved
from tests.support.pushing import ALERTMANAGER, Pushing
from tests.support.receiver import Got, Receiver, never, receiver, status
from tests.support.waiting import eventually

OFTEN_S = 0.1


def told(server: Receiver) -> list[dict[str, Any]]:
    """Return every alert that was sent, in order."""
    return [alert for got in server.got for alert in got.content]


def runs(server: Receiver) -> list[str]:
    return [alert["labels"]["run_id"] for alert in told(server)]


def last_end(server: Receiver, run: str = "run_1") -> str:
    """Return the end that was last said of a run's alert."""
    ends = [alert["endsAt"] for alert in told(server) if alert["labels"]["run_id"] == run]
    return ends[-1] if ends else ""


async def test_a_firing_alert_is_sent_at_once(pushing: Pushing, server: Receiver) -> None:
    async with pushing.to_alertmanagers(server.url + "/prefix"):
        pushing.publish(firing())
        await eventually(lambda: pushing.told.results["alertmanager", "delivered"])
    assert server.got[0].path == "/prefix/api/v2/alerts"
    (alert,) = told(server)
    assert alert["labels"]["alertname"] == "StreamprocRunsStuckInQueued"
    assert alert["annotations"]["summary"] == "run_1 has not moved on"
    assert pushing.told.results["alertmanager", "delivered"] == 1


async def test_alerts_go_in_batches(pushing: Pushing, server: Receiver) -> None:
    pushing.publish(*(firing(f"run_{number}") for number in range(250)))
    async with pushing.to_alertmanagers(server.url, max_batch=64):
        await eventually(lambda: len(told(server)) == 250)
    assert [len(got.content) for got in server.got] == [64, 64, 64, 58]
    assert len(set(runs(server))) == 250


async def test_it_is_sent_again_while_it_fires_and_five_minutes_after(pushing: Pushing, server: Receiver) -> None:
    async with pushing.to_alertmanagers(server.url, resend_s=OFTEN_S):
        pushing.publish(firing())
        await eventually(lambda: len(server.got) >= 3)
        pushing.now_ms += MINUTE_MS
        pushing.publish(resolved(at=MINUTE_MS))
        await eventually(lambda: last_end(server) == "2024-06-01T00:01:00.000Z")
        ended = len(server.got)
        await eventually(lambda: len(server.got) >= ended + 2)
        assert last_end(server) == "2024-06-01T00:01:00.000Z"
        pushing.now_ms += AFTERWARDS_MS
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) == 2)
        await eventually(lambda: _is_quiet(server))


async def _is_quiet(server: Receiver) -> bool:
    """Whether nothing comes for some intervals: one sending may have been under way before."""
    count = len(server.got)
    await asyncio.sleep(3 * OFTEN_S)
    return len(server.got) == count


async def test_the_end_of_a_firing_alert_moves_on_with_each_sending(pushing: Pushing, server: Receiver) -> None:
    """That is what ends the alerts of a service that died."""
    async with pushing.to_alertmanagers(server.url, resend_s=OFTEN_S):
        pushing.publish(firing())
        await eventually(lambda: last_end(server) == "2024-06-01T00:00:00.400Z")
        pushing.now_ms += MINUTE_MS
        await eventually(lambda: last_end(server) == "2024-06-01T00:01:00.400Z")


async def test_a_restart_sends_what_fires_and_nothing_that_ended_long_ago(pushing: Pushing, server: Receiver) -> None:
    async with pushing.to_alertmanagers(server.url):
        pushing.publish(firing("a"), firing("b"), firing("c"))
        await eventually(lambda: len(told(server)) == 3)
        pushing.publish(resolved("b"))
        await eventually(lambda: len(told(server)) == 4)
    pushing.now_ms += AFTERWARDS_MS
    pushing.publish(resolved("c"))
    server.got.clear()
    async with pushing.to_alertmanagers(server.url):
        await eventually(lambda: len(told(server)) == 2)
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) == 0)
    assert sorted(runs(server)) == ["a", "c"]
    assert last_end(server, "c") == "2024-06-01T00:00:00.000Z"


async def test_what_is_over_by_the_time_it_is_read_never_fires(pushing: Pushing, server: Receiver) -> None:
    """Only the end of the topic shows what still fires; 200 records come at a time."""
    pushing.publish(*(firing(f"run_{number}") for number in range(450)))
    pushing.publish(*(resolved(f"run_{number}") for number in range(449)))
    pushing.now_ms += AFTERWARDS_MS
    async with pushing.to_alertmanagers(server.url):
        await eventually(lambda: server.got)
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) == 449)
    assert runs(server) == ["run_449"]


async def test_every_alertmanager_gets_everything(pushing: Pushing, server: Receiver) -> None:
    async with receiver() as other, pushing.to_alertmanagers(server.url, other.url):
        pushing.publish(firing())
        await eventually(lambda: server.got and other.got)
        pushing.publish(resolved())
        await eventually(lambda: last_end(server) == last_end(other) == "2024-06-01T00:00:00.000Z")
    assert pushing.told.results["alertmanager", "delivered"] == 4


@pytest.mark.parametrize("behaviour", [status(500), status(401), never], ids=["500", "401", "silent"])
async def test_one_that_fails_holds_up_no_other(pushing: Pushing, server: Receiver, behaviour: Any) -> None:
    """What one has taken is delivered; the other is told when it is back."""
    timeout_s = 0.3 if behaviour is never else 60.0
    async with receiver() as bad, pushing.to_alertmanagers(bad.url, server.url, resend_s=OFTEN_S, timeout_s=timeout_s):
        bad.behave = behaviour
        for number in range(3):
            pushing.publish(firing(f"run_{number}"))
            await eventually(lambda number=number: f"run_{number}" in runs(server))
        await eventually(lambda: bad.got and pushing.told.now_waiting.get("alertmanager") == 0)
        bad.behave, before = status(200), len(bad.got)
        await eventually(
            lambda: len({alert["labels"]["run_id"] for got in bad.got[before:] for alert in got.content}) == 3
        )


async def test_nobody_there_is_tried_again_until_somebody_is(pushing: Pushing) -> None:
    port = free_port()
    async with pushing.to_alertmanagers(f"http://127.0.0.1:{port}"):
        pushing.publish(firing())
        await eventually(lambda: pushing.told.results["alertmanager", "failed"] >= 3)
        await eventually(lambda: pushing.told.now_waiting["alertmanager"] == 1)
        async with receiver(port) as late:
            await eventually(lambda: late.got)
            await eventually(lambda: pushing.told.now_waiting["alertmanager"] == 0)


@pytest.mark.parametrize("code", [500, 503, 429])
async def test_trouble_there_is_tried_again_with_what_is_true_by_then(
    pushing: Pushing, server: Receiver, code: int
) -> None:
    server.script = [status(code)] * 2
    async with pushing.to_alertmanagers(server.url):
        pushing.publish(firing("a"))
        await eventually(lambda: pushing.told.results["alertmanager", "delivered"] == 1)
    assert runs(server) == ["a", "a", "a"]
    assert pushing.told.results["alertmanager", "failed"] == 2


async def test_an_alert_that_ended_unheard_is_still_told(pushing: Pushing, server: Receiver) -> None:
    """An Alertmanager that was away for an hour may have told a person that it fires."""
    server.behave = status(503)
    async with pushing.to_alertmanagers(server.url):
        pushing.publish(firing())
        pushing.publish(resolved())
        await eventually(lambda: pushing.told.results["alertmanager", "failed"] >= 2)
        pushing.now_ms += 12 * AFTERWARDS_MS
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) in (None, 0))
        server.behave = status(200)
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) == 2)
    assert last_end(server) == "2024-06-01T00:00:00.000Z"


async def test_an_alert_that_is_refused_is_found_and_left_out(pushing: Pushing, server: Receiver) -> None:
    """The others of its batch are delivered; it is not sent again until there is news of it."""

    def picky(got: Got) -> web.StreamResponse:
        bad = any(alert["labels"]["run_id"] == "run_5" for alert in got.content)
        return web.Response(status=400 if bad else 200)

    server.behave = picky
    pushing.publish(*(firing(f"run_{number}") for number in range(8)))
    async with pushing.to_alertmanagers(server.url, resend_s=OFTEN_S):
        await eventually(lambda: runs(server).count("run_0") >= 4)
        assert pushing.told.results["alertmanager", "refused"] == 1
        assert runs(server).count("run_5") == 4
        pushing.publish(resolved("run_5"))
        await eventually(lambda: pushing.told.results["alertmanager", "refused"] == 2)


@pytest.mark.parametrize("code", [401, 403, 404, 307])
async def test_one_that_refuses_everything_is_not_asked_without_pause(
    pushing: Pushing, server: Receiver, code: int
) -> None:
    """Somebody has to change something; what fires is sent again at its time, what ended is let go."""
    server.behave = status(code, location="/elsewhere")
    pushing.publish(firing("a"), firing("b"), resolved("b"))
    async with pushing.to_alertmanagers(server.url, resend_s=3.0):
        await eventually(lambda: len(server.got) == 1)
        await eventually(lambda: pushing.told.now_waiting.get("alertmanager") == 0)
        assert pushing.told.results["alertmanager", "refused"] == 2
        pushing.now_ms += AFTERWARDS_MS
        await asyncio.sleep(0.2)
        assert len(server.got) == 1
        server.behave = status(200)
        await eventually(lambda: pushing.told.results["alertmanager", "delivered"] == 1)
    assert runs(server) == ["a", "b", "a"]


async def test_one_that_refuses_everything_is_not_asked_batch_after_batch(
    pushing: Pushing, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamproc.notify.alertmanager.FIRST_WAIT_S", 10.0)
    monkeypatch.setattr("streamproc.notify.alertmanager.LONGEST_WAIT_S", 10.0)
    server.behave = status(401)
    pushing.publish(*(firing(f"run_{number}") for number in range(20)))
    async with pushing.to_alertmanagers(server.url, max_batch=1):
        await eventually(lambda: server.got)
        await asyncio.sleep(0.2)
    assert len(server.got) == 1


async def test_what_is_no_longer_true_is_not_sent(pushing: Pushing, server: Receiver) -> None:
    """While a batch is under way, an alert of the next one may end."""
    answered = asyncio.Event()

    async def slow(_: Got) -> web.Response:
        await answered.wait()
        return web.Response()

    server.script = [slow]
    pushing.publish(firing("a"), firing("b"))
    async with pushing.to_alertmanagers(server.url, max_batch=1):
        await eventually(lambda: server.got)
        pushing.publish(resolved("b"))
        await eventually(lambda: pushing.told.now_waiting.get("alertmanager") == 2)
        await asyncio.sleep(0.1)
        answered.set()
        await eventually(lambda: len(server.got) == 2)
        await eventually(lambda: pushing.told.now_waiting["alertmanager"] == 0)
    assert runs(server) == ["a", "b"]
    assert last_end(server, "b") == "2024-06-01T00:00:00.000Z"


async def test_nothing_is_sent_while_nobody_owns_the_partition(pushing: Pushing, server: Receiver) -> None:
    """From the revocation on somebody else may know better, however long the rebalance takes."""
    async with pushing.to_alertmanagers(server.url, resend_s=0.05):
        pushing.publish(firing())
        await eventually(lambda: len(server.got) >= 2)
        (feed,) = pushing.topic.members[ALERTMANAGER]
        feed.revoke()
        await asyncio.sleep(0.1)
        count = len(server.got)
        await asyncio.sleep(0.3)
        assert len(server.got) == count
        pushing.topic.rebalance(ALERTMANAGER)
        await eventually(lambda: len(server.got) > count)


async def test_partitions_that_go_are_told_by_their_new_owner(server: Receiver) -> None:
    """From the revocation on the old owner says nothing, and at the end all is told by whoever owns it."""
    pushing = Pushing(partitions=2)
    async with receiver() as other, pushing.to_alertmanagers(server.url, resend_s=OFTEN_S):
        pushing.publish(firing("a"), partition=0)
        pushing.publish(firing("b"), partition=1)
        await eventually(lambda: {"a", "b"} == set(runs(server)))
        async with pushing.to_alertmanagers(other.url, resend_s=OFTEN_S):
            await eventually(lambda: set(runs(other)) == {"b"})
            pushing.now_ms += MINUTE_MS
            pushing.publish(resolved("b", at=MINUTE_MS), partition=1)
            await eventually(lambda: last_end(other, "b") == "2024-06-01T00:01:00.000Z")
            server.got.clear()
            await eventually(lambda: len(server.got) >= 2)
            assert set(runs(server)) == {"a"}
        await eventually(lambda: last_end(server, "b") == "2024-06-01T00:01:00.000Z")


async def test_the_table_has_a_limit(pushing: Pushing, server: Receiver) -> None:
    server.behave = status(500)
    pushing.publish(*(firing(f"run_{number}") for number in range(30)))
    async with pushing.to_alertmanagers(server.url, max_alerts=10):
        await eventually(lambda: pushing.told.results["alertmanager", "dropped"] == 20)
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) == 20)
        server.behave = status(200)
        await eventually(lambda: pushing.told.results["alertmanager", "delivered"] == 10)


async def test_a_record_that_is_no_alert_is_passed_over(pushing: Pushing, server: Receiver) -> None:
    pushing.topic.publish((b"k", b"garbage", 0, []), (b"k", None, 0, []), (b"k", b"\xc3\x01" + b"\x00" * 9, 0, []))
    pushing.publish(firing())
    async with pushing.to_alertmanagers(server.url):
        await eventually(lambda: runs(server) == ["run_1"])
        await eventually(lambda: pushing.topic.committed(ALERTMANAGER) == 3)
    assert pushing.told.results["alertmanager", "dropped"] == 3
