"""What the broker said some time ago tells nothing of the time since: on a real one, with a clock that jumps."""

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from streamproc.runtime.aio import fetched as module
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import NewTopic
from tests.support.waiting import eventually


async def test_an_answer_from_before_a_standstill_does_not_show_that_all_was_read(
    kafka_bootstrap: str, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept, say: what came meanwhile is there, and unread. The next answer counts again."""
    topic, kafka = unique("stale"), AioKafka(KafkaSettings(bootstrap_servers=kafka_bootstrap), unique("group"))
    await kafka.create([NewTopic(topic, 1, {})])
    reader = await kafka.reader(topic, 0)
    await reader.seek(0)

    async def is_caught_up() -> bool:
        return (await reader.fetch(10, 1.0)).caught_up

    await eventually(is_caught_up)
    assert reader.read_all()
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + 60))
    assert (reader.read_all(), reader.lag()) == (False, 0)
    monkeypatch.undo()
    await eventually(is_caught_up)
    await reader.close()
    await kafka.close()
