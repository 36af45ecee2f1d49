"""How what lies in a topic is framed, before the service writes anything else into it."""

import pytest

from streamproc.codec.framing import confluent, single_object
from streamproc.runtime.ports import NewTopic
from streamproc.runtime.reframing import LAST_OFFSETS, framing_in
from tests.support.fake_kafka import FakeKafka

OLD, NEW = single_object("0" * 16) + b"payload", confluent(7) + b"payload"


async def found(*values: bytes | None) -> str | None:
    kafka = FakeKafka()
    await kafka.create([NewTopic("state", 3, {})])
    for value in values:
        kafka.logs["state"][1].append((b"run_1", value, 0, ()), "committed")
    return await framing_in(kafka, "state", 3)


@pytest.mark.parametrize(
    ("values", "framing"),
    [
        ((), None),
        ((None,), None),
        ((OLD,), "single_object"),
        ((NEW,), "confluent"),
        ((NEW,) * (LAST_OFFSETS + 5) + (OLD, None), "single_object"),
        ((OLD,) * (LAST_OFFSETS + 5) + (NEW,), "confluent"),
    ],
)
async def test_the_latest_record_tells(values, framing):
    """Whatever was there before, and whichever partition has any."""
    assert await found(*values) == framing
