"""The push as a whole: apart from the pipeline, ends in time, starts over, shows no secret."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import structlog
from pydantic import SecretStr

from streamproc.app import make_kafka, make_pusher
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.observe.logs import configure
from streamproc.runtime.ports import Committed
from streamproc.settings.loading import load_settings
from tests.support.alerts import firing
from tests.support.pushing import ALERTMANAGER, WEBHOOK, Pushing, Told
from tests.support.receiver import Receiver, never, status
from tests.support.waiting import eventually

SECRET = "hunter2-is-a-secret"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All that was logged so far; logging is global, so it is given back as it was."""
    root, kafka = logging.getLogger(), logging.getLogger("aiokafka")
    handlers, levels, heard = root.handlers[:], (root.level, kafka.level), []

    def everything() -> str:
        heard.extend(capsys.readouterr())
        return "".join(heard)

    yield everything
    root.handlers = handlers
    root.setLevel(levels[0])
    kafka.setLevel(levels[1])
    structlog.reset_defaults()


async def test_nothing_is_read_where_no_receiver_is_set(pushing: Pushing) -> None:
    """Nor does the topic have to be there."""
    pushing.topic.logs.clear()
    async with pushing.pusher():
        await asyncio.sleep(0.05)
    assert not pushing.topic.members


async def test_a_missing_topic_is_said_with_what_to_do(pushing: Pushing) -> None:
    pushing.topic.logs.clear()
    with pytest.raises(ConfigError, match=r"run-alerts does not exist.*topics create.*STREAMPROC_WEBHOOK__URL"):
        await pushing.to_alertmanagers("http://a").__aenter__()


async def test_a_wrong_setting_is_said_at_the_start(pushing: Pushing) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        pushing.to_alertmanagers("http://a", ca_file="/nowhere.pem")


async def test_each_receiver_has_a_group_of_its_own(pushing: Pushing, server: Receiver) -> None:
    both = {
        "alertmanager": {"urls": (server.url,), "resend_s": 60.0},
        "webhook": {"url": SecretStr(f"{server.url}/hook")},
    }
    async with pushing.pusher(**both):
        pushing.publish(firing())
        await eventually(lambda: {got.path for got in server.got} == {"/api/v2/alerts", "/hook"})
        await eventually(lambda: (pushing.topic.committed(ALERTMANAGER), pushing.topic.committed(WEBHOOK)) == (0, 1))


@pytest.mark.parametrize("behaviour", [status(200), status(500), never], ids=["well", "failing", "silent"])
async def test_it_ends_at_once_and_leaves_nothing(
    pushing: Pushing, server: Receiver, behaviour: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far before the request under way would."""
    monkeypatch.setattr("streamproc.notify.pusher.STOP_S", 3_600)
    server.behave = behaviour
    async with pushing.to_alertmanagers(server.url, timeout_s=120.0):
        pushing.publish(firing())
        await eventually(lambda: server.got)
        began = time.monotonic()
    assert time.monotonic() - began < 60
    assert not _own_tasks()
    assert not pushing.topic.members[ALERTMANAGER]


async def test_a_stop_in_two_steps_stores_what_was_done(
    pushing: Pushing, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stop`, while the pipeline ends, and the exit; the second must not cut the first one short."""
    monkeypatch.setattr("streamproc.notify.subscription.COMMIT_S", 60.0)
    async with pushing.pusher(webhook={"url": SecretStr(server.url)}) as pusher:
        pushing.publish(firing())
        await eventually(lambda: pushing.told.results["webhook", "delivered"] == 1)
        (feed,) = pushing.topic.members[WEBHOOK]
        commit, under_way = feed.commit, asyncio.Event()

        async def slow(offsets: Mapping[int, Committed]) -> bool:
            under_way.set()
            await asyncio.sleep(0.05)
            return await commit(offsets)

        feed.commit = slow
        pusher.stop()
        await under_way.wait()
    assert pushing.topic.committed(WEBHOOK) == 1
    assert not pushing.topic.members[WEBHOOK]


def _own_tasks() -> list[asyncio.Task[object]]:
    code = ((task, task.get_coro().cr_code.co_filename) for task in asyncio.all_tasks())
    return [task for task, file in code if "/streamproc/notify/" in file]


async def test_a_broker_that_is_away_at_the_start_is_waited_for(pushing: Pushing, server: Receiver) -> None:
    pushing.topic.down = True
    pushing.publish(firing())
    async with pushing.to_alertmanagers(server.url):
        await asyncio.sleep(0.1)
        pushing.topic.down = False
        await eventually(lambda: server.got)


async def test_after_a_failure_it_starts_over_from_what_was_stored(
    pushing: Pushing, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamproc.notify.pusher.STOP_S", 3_600)
    async with pushing.to_alertmanagers(server.url):
        pushing.publish(firing("a"))
        await eventually(lambda: server.got)
        pushing.topic.down = True
        await eventually(lambda: not pushing.topic.members[ALERTMANAGER])
        pushing.topic.down = False
        pushing.publish(firing("b"))
        await eventually(lambda: any("b" in str(got.content) for got in server.got[1:]))
    assert not _own_tasks()


async def test_offsets_that_cannot_be_stored_end_nothing(pushing: Pushing, server: Receiver) -> None:
    """During an outage what is known to fire has to be said again, or it would seem to have ended."""
    async with pushing.to_alertmanagers(server.url, resend_s=0.05):
        pushing.publish(firing())
        await eventually(lambda: server.got)
        (feed,) = pushing.topic.members[ALERTMANAGER]

        async def refuse(_: object) -> bool:
            raise BrokerUnavailable("away")

        feed.commit = refuse
        pushing.publish(firing("b"))
        count = len(server.got)
        await eventually(lambda: len(server.got) > count + 3)
        assert pushing.topic.members[ALERTMANAGER] == [feed]


async def test_a_cancellation_from_within_is_an_error(pushing: Pushing, server: Receiver) -> None:
    """As aiokafka raises it; a subscription must not end in silence."""
    async with pushing.to_alertmanagers(server.url):
        await eventually(lambda: pushing.topic.members[ALERTMANAGER])
        (feed,) = pushing.topic.members[ALERTMANAGER]

        async def cancelled(_: float) -> None:
            raise asyncio.CancelledError

        feed.fetch = cancelled
        await eventually(lambda: pushing.topic.members[ALERTMANAGER] not in ([], [feed]))
        pushing.publish(firing())
        await eventually(lambda: server.got)


async def test_a_bug_in_it_is_logged_without_what_it_was_about(
    pushing: Pushing, server: Receiver, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    configure("DEBUG", "json")
    monkeypatch.setattr("streamproc.notify.subscription.decode_alert", broken)
    async with pushing.to_alertmanagers(server.url):
        pushing.publish(firing())
        await eventually(lambda: "RuntimeError in test_pusher.py" in said())
        monkeypatch.undo()
        await eventually(lambda: server.got)
    assert SECRET not in said()


async def test_secrets_are_never_logged(pushing: Pushing, server: Receiver, said: Callable[[], str]) -> None:
    """Whatever goes wrong, at the lowest level, with every library's log."""
    configure("DEBUG", "json")
    login = {"username": "user", "password": SecretStr(SECRET)}
    hook = {"url": SecretStr(f"{server.url}/{SECRET}?t={SECRET}"), "secret": SecretStr(SECRET)}
    dead = {"url": SecretStr(f"http://127.0.0.1:9/{SECRET}"), "bearer_token": SecretStr(SECRET)}
    summary = f"payload {SECRET}"
    for code in (200, 401, 500, 302):
        server.behave = status(code, location=f"{server.url}/{SECRET}")
        server.got.clear()
        async with pushing.pusher(alertmanager={"urls": (server.url,), **login}, webhook=hook):
            pushing.publish(firing(f"run_{code}", summary=summary))
            await eventually(lambda: len({got.path for got in server.got}) == 2)
    async with pushing.pusher(webhook=dead):
        pushing.publish(firing("run_dead", summary=summary))
        await eventually(lambda: pushing.told.results["webhook", "failed"] > 3)
    assert "HTTP status 500" in said()
    assert SECRET not in said()


async def test_settings_from_the_environment_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMPROC_ALERTMANAGER__URLS", "http://a:9093,http://b:9093")
    monkeypatch.setenv("STREAMPROC_ALERTMANAGER__LABELS__CLUSTER", "eu")
    monkeypatch.setenv("STREAMPROC_WEBHOOK__URL", f"https://chat.example/{SECRET}")
    monkeypatch.setenv("STREAMPROC_WEBHOOK__SECRET", SECRET)
    settings = load_settings()
    assert settings.alertmanager.urls == ("http://a:9093", "http://b:9093")
    assert settings.alertmanager.labels == {"cluster": "eu"}
    assert SECRET not in settings.model_dump_json() + repr(settings)
    sinks = make_pusher(settings, make_kafka(settings), Told())._sinks
    assert [sink.name for sink in sinks] == ["alertmanager", "webhook"]
    monkeypatch.setenv("STREAMPROC_ALERTMANAGER__URLS", f"http://u:{SECRET}@a")
    with pytest.raises(ConfigError, match=r"STREAMPROC_ALERTMANAGER__URLS.*no user or password") as refusal:
        load_settings()
    assert SECRET not in str(refusal.value)
