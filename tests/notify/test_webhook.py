"""Push to a webhook: each alert once, signed, in order for each run, and again until it is taken."""

import asyncio
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from pydantic import SecretStr

from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.notify.outbox import Item, Outbox
from streamproc.notify.pusher import AlertOrigin, Pusher
from streamproc.notify.webhook import FIRST_LOOK_BACK_MS
from tests.support.alerts import MINUTE_MS, START_MS, firing, resolved
from tests.support.pushing import WEBHOOK, Pushing
from tests.support.receiver import Got, Receiver, never, status
from tests.support.waiting import eventually

SECRET = "a secret of some length"


def to_webhook(pushing: Pushing, server: Receiver, **settings: Any) -> Pusher:
    console_url = settings.pop("console_url", None)
    values = {"url": SecretStr(f"{server.url}/hook?room=1"), "secret": SecretStr(SECRET), "timeout_s": 60.0, **settings}
    return pushing.pusher(webhook=values, console_url=console_url)


def news(server: Receiver) -> list[str]:
    """Return what was sent, in order."""
    return [f"{got.content['run_id']}:{got.content['state']}" for got in server.got]


def verified(secret: str, got: Got, now_s: float, tolerance_s: float = 300) -> bool:
    """Check a signature as a receiver does; docs/alerts.md shows the same."""
    sent = dict(part.split("=", 1) for part in got.headers["streamproc-signature"].split(","))
    expected = hmac.new(secret.encode(), sent["t"].encode() + b"." + got.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, sent["v1"]) and abs(now_s - int(sent["t"])) <= tolerance_s


async def test_an_alert_arrives_as_a_document(pushing: Pushing, server: Receiver) -> None:
    async with to_webhook(pushing, server):
        pushing.publish(firing())
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 1)
    (got,) = server.got
    assert got.path == "/hook"
    assert got.headers["streamproc-idempotency-key"] == "stuck_queued:run_1:7:firing"
    assert got.content == {
        "idempotency_key": "stuck_queued:run_1:7:firing",
        "name": "StreamprocRunsStuckInQueued",
        "application": "app",
        "alert_id": "stuck_queued:run_1:7",
        "kind": "stuck_queued",
        "severity": "warning",
        "state": "firing",
        "since": "2024-06-01T00:00:00.000Z",
        "decided_at": "2024-06-01T00:00:00.000Z",
        "deadline_at": "2024-06-01T00:00:00.000Z",
        "ends_at": None,
        "summary": "run_1 has not moved on",
        "run_id": "run_1",
        "thread_id": "thread_1",
        "assistant_id": "asst_1",
        "model": "gpt-4o",
        "status": "queued",
        "source_topic": "run-events",
        "source_partition": 3,
        "source_offset": 7,
    }


async def test_with_a_console_it_has_the_runs_page(pushing: Pushing, server: Receiver) -> None:
    async with to_webhook(pushing, server, console_url="https://c"):
        pushing.publish(firing("a/b"))
        await eventually(lambda: server.got)
    assert server.got[0].content["console_url"] == "https://c/runs/a%2Fb"


async def test_its_signature_covers_time_and_body(pushing: Pushing, server: Receiver) -> None:
    async with to_webhook(pushing, server):
        pushing.publish(firing())
        await eventually(lambda: server.got)
    (got,) = server.got
    now_s = START_MS / 1000
    assert verified(SECRET, got, now_s)
    assert not verified("another secret", got, now_s)
    assert not verified(SECRET, got, now_s + 301)
    assert not verified(SECRET, Got(got.path, got.headers, got.body + b" ", got.at), now_s)


async def test_a_repetition_is_signed_anew(pushing: Pushing, server: Receiver) -> None:
    """A receiver that refuses old signatures would refuse it for ever."""
    server.behave = status(500)
    async with to_webhook(pushing, server):
        pushing.publish(firing())
        await eventually(lambda: server.got)
        pushing.now_ms += 10 * MINUTE_MS
        await eventually(lambda: verified(SECRET, server.got[-1], pushing.clock()))


async def test_a_secret_and_a_url_in_files_are_read_again(pushing: Pushing, server: Receiver, tmp_path: Path) -> None:
    """A receiver that was given new ones gets them with the next alert."""
    secret, url = tmp_path / "secret", tmp_path / "url"

    def renew(said: str) -> None:
        secret.write_text(f"{said}\n")
        url.write_text(f"{server.url}/{len(said)}\n")

    renew(SECRET)
    settings = WebhookSettings(url_file=url, secret_file=secret)
    source = AlertOrigin("app", "run-alerts", pushing.topic.feed, pushing._partitions)
    async with Pusher(source, AlertmanagerSettings(), settings, pushing.told, wall=pushing.clock):
        for number, said in enumerate((SECRET, f"another {SECRET}")):
            renew(said)
            pushing.publish(firing(alert_id=f"alert-{number}"))
            await eventually(lambda before=number: len(server.got) > before)
            assert verified(said, server.got[-1], pushing.clock())
            assert server.got[-1].path == f"/{len(said)}"


async def test_without_a_secret_there_is_no_signature(pushing: Pushing, server: Receiver) -> None:
    async with to_webhook(pushing, server, secret=None):
        pushing.publish(firing())
        await eventually(lambda: server.got)
    assert "streamproc-signature" not in server.got[0].headers


async def test_what_is_taken_is_sent_once(pushing: Pushing, server: Receiver) -> None:
    async with to_webhook(pushing, server):
        pushing.publish(firing("a"), resolved("a"), firing("b"))
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 3)
    async with to_webhook(pushing, server):
        pushing.publish(firing("c"))
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 4)
    assert sorted(news(server)) == ["a:firing", "a:resolved", "b:firing", "c:firing"]
    assert pushing.told.results == {("webhook", "delivered"): 4}


@pytest.mark.parametrize("code", [500, 503, 408, 429])
async def test_trouble_there_is_tried_again(pushing: Pushing, server: Receiver, code: int) -> None:
    server.script = [status(code)] * 3
    async with to_webhook(pushing, server):
        pushing.publish(firing())
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 1)
    assert news(server) == ["run_1:firing"] * 4
    assert pushing.told.results == {("webhook", "failed"): 3, ("webhook", "delivered"): 1}


@pytest.mark.parametrize("code", [400, 401, 404, 410, 307])
async def test_what_is_refused_is_counted_and_passed_over(pushing: Pushing, server: Receiver, code: int) -> None:
    server.script = [status(code, location="/elsewhere")]
    async with to_webhook(pushing, server):
        pushing.publish(firing(), resolved())
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 2)
    assert news(server) == ["run_1:firing", "run_1:resolved"]
    assert pushing.told.results == {("webhook", "refused"): 1, ("webhook", "delivered"): 1}


async def test_a_run_s_alerts_stay_in_order_and_others_do_not_wait_for_them(pushing: Pushing, server: Receiver) -> None:
    def picky(got: Got) -> web.StreamResponse:
        return web.Response(status=500 if got.content["run_id"] == "bad" and not done else 200)

    done: list[bool] = []
    server.behave = picky
    async with to_webhook(pushing, server, concurrency=2):
        pushing.publish(firing("bad"), resolved("bad"))
        pushing.publish(*(firing(f"run_{number}") for number in range(20)))
        await eventually(lambda: len({it for it in news(server) if it.startswith("run_")}) == 20)
        assert pushing.topic.committed(WEBHOOK) in (None, 0)
        assert "bad:resolved" not in news(server)
        done.append(True)
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 22)
    assert news(server).index("bad:resolved") == max(i for i, it in enumerate(news(server)) if it == "bad:firing") + 1


async def test_several_requests_are_under_way_but_not_more_than_allowed(pushing: Pushing, server: Receiver) -> None:
    server.behave = never
    async with to_webhook(pushing, server, concurrency=3):
        pushing.publish(*(firing(f"run_{number}") for number in range(10)))
        await eventually(lambda: len(server.got) == 3)
        await asyncio.sleep(0.1)
        assert len(server.got) == 3


async def test_what_finds_no_room_waits_in_the_topic(pushing: Pushing, server: Receiver) -> None:
    server.behave = status(500)
    pushing.publish(*(firing(f"run_{number}") for number in range(1_000)))
    async with to_webhook(pushing, server, max_waiting=10):
        await eventually(lambda: pushing.told.results["webhook", "failed"] > 5)
        # 200 records come at a time.
        await eventually(lambda: 0 < pushing.told.now_waiting.get("webhook", 0) <= 200)
        server.behave = status(200)
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 1_000)
    assert len(set(news(server))) == 1_000


async def test_retry_after_is_waited_for_by_all(pushing: Pushing, server: Receiver) -> None:
    server.script = [status(429, retry_after="1")]
    async with to_webhook(pushing, server):
        pushing.publish(firing("a"))
        await eventually(lambda: server.got)
        pushing.publish(firing("b"))
        await eventually(lambda: len(server.got) == 3)
    assert server.got[1].at - server.got[0].at >= 0.9


async def test_retry_after_has_a_bound(pushing: Pushing, server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.notify.webhook.MAX_RETRY_AFTER_S", 0.1)
    server.script = [status(503, retry_after="86400")]
    async with to_webhook(pushing, server):
        pushing.publish(firing())
        await eventually(lambda: len(server.got) == 2)


async def test_an_alert_is_given_up_after_long(pushing: Pushing, server: Receiver) -> None:
    server.behave = status(500)
    async with to_webhook(pushing, server, give_up_s=0.1):
        pushing.publish(firing())
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 1)
    assert pushing.told.results["webhook", "dropped"] == 1


async def test_a_restart_repeats_only_what_was_not_stored(pushing: Pushing, server: Receiver) -> None:
    """At least once: under the same key, so that a receiver can tell."""
    server.behave = lambda got: web.Response(status=500 if got.content["run_id"] == "b" else 200)
    async with to_webhook(pushing, server):
        pushing.publish(firing("a"), firing("b"), firing("c"))
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 1 and "c:firing" in news(server))
    server.got.clear()
    server.behave = status(200)
    async with to_webhook(pushing, server):
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 3)
    assert sorted(news(server)) == ["b:firing", "c:firing"]


async def test_the_first_start_tells_no_history(pushing: Pushing, server: Receiver) -> None:
    pushing.publish(firing("old"))
    pushing.now_ms += FIRST_LOOK_BACK_MS + 1
    pushing.publish(firing("new"))
    async with to_webhook(pushing, server):
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 2)
    assert news(server) == ["new:firing"]


async def test_a_later_start_delivers_what_came_in_between_however_old(pushing: Pushing, server: Receiver) -> None:
    async with to_webhook(pushing, server):
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 0)
    pushing.publish(firing("old"))
    pushing.now_ms += 2 * FIRST_LOOK_BACK_MS
    async with to_webhook(pushing, server):
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 1)
    assert news(server) == ["old:firing"]


async def test_partitions_that_go_are_delivered_by_their_new_owner(server: Receiver) -> None:
    pushing = Pushing(partitions=2)
    server.behave = status(500)
    async with to_webhook(pushing, server):
        pushing.publish(firing("a"), partition=0)
        pushing.publish(firing("b"), partition=1)
        await eventually(lambda: pushing.told.results["webhook", "failed"] > 3)
        async with to_webhook(pushing, server):
            server.behave = status(200)
            await eventually(lambda: pushing.topic.committed(WEBHOOK, 0) == pushing.topic.committed(WEBHOOK, 1) == 1)
    assert {"a:firing", "b:firing"} == set(news(server))


async def test_what_is_no_longer_ours_is_not_sent(pushing: Pushing, server: Receiver) -> None:
    """A sender that waits as it was asked to may find that the partition went."""
    server.script = [status(429, retry_after="1")]
    async with to_webhook(pushing, server):
        pushing.publish(firing("a"))
        await eventually(lambda: server.got)
        pushing.publish(firing("b"))
        await eventually(lambda: pushing.told.now_waiting.get("webhook") == 2)
        (feed,) = pushing.topic.members[WEBHOOK]
        feed.revoke()
        await asyncio.sleep(1.2)
        assert len(server.got) == 1
        pushing.topic.rebalance(WEBHOOK)
        await eventually(lambda: pushing.topic.committed(WEBHOOK) == 2)
    assert sorted(news(server)) == ["a:firing", "a:firing", "b:firing"]


@pytest.mark.parametrize(
    "run", ["run\r\nx-evil: 1", "rün✓", "r" * 5_000, "a b,c;d=e"], ids=["crlf", "utf8", "long", "odd"]
)
async def test_an_id_from_outside_fits_into_a_header(pushing: Pushing, server: Receiver, run: str) -> None:
    async with to_webhook(pushing, server):
        pushing.publish(firing(run))
        await eventually(lambda: pushing.told.results["webhook", "delivered"] == 1)
    (got,) = server.got
    assert "x-evil" not in got.headers
    key = got.headers["streamproc-idempotency-key"]
    assert key.isascii()
    assert unquote(key) == got.content["idempotency_key"]
    assert got.content["run_id"] == run


async def test_nothing_of_a_cleared_outbox_comes_back() -> None:
    """What a sender has in hand during a rebalance is somebody else's by then."""
    box = Outbox(limit=1)
    item = _item(0)
    box.put(item)
    assert await box.next() is item
    box.clear()
    assert not box.holds(item)
    box.again(item)
    box.done(item)
    assert (len(box), box.oldest(0)) == (0, None)
    again = _item(0)
    box.put(again)
    box.done(item)
    assert await box.next() is again
    assert box.oldest(0) == 0
    box.done(again)
    other = Item(0, 1, firing("run_2"), time.monotonic())
    box.put(other)
    assert await box.next() is other


def _item(offset: int) -> Any:
    return Item(0, offset, firing(), time.monotonic())
