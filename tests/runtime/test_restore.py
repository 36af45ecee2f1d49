"""A restore by itself: where it begins, and which states are ahead of the commit (rules.md 6)."""

from collections.abc import Sequence

import pytest

from streamproc.codec.arrival import Arrival, latest
from streamproc.runtime import reading
from streamproc.runtime.ports import NewTopic, TopicPartition
from streamproc.runtime.restore import GONE, KeyOrigins, NotAsCommitted, Restored, restore
from tests.support.fake_kafka import FakeKafka

PLACE = TopicPartition("state", 0)
COMMITTED = 100


class Kept:
    """A state of numbers by key, each of which is the input's offset that it came from."""

    def __init__(self) -> None:
        self.values: dict[bytes | None, int] = {}
        self.reads: list[list[int]] = []

    def load(self, records: Sequence[Arrival]) -> KeyOrigins:
        """Take records over."""
        self.reads.append([record.offset for record in records])
        found = {record.key: GONE if record.value is None else int(record.value) for record in latest(records)}
        self.values |= found
        return KeyOrigins([*found], [*found.values()])


async def _written(*messages: tuple[bytes, int | None]) -> FakeKafka:
    kafka = FakeKafka()
    await kafka.create([NewTopic("state", 1, {})])
    log = kafka.logs["state"][0]
    for key, offset in messages:
        log.append((key, None if offset is None else b"%d" % offset, 0, []), "committed")
    log.mark()
    return kafka


async def _more(remaining: int) -> None:
    """Let more be loaded."""


async def _restored(kafka: FakeKafka, since: int | None = None) -> tuple[Kept, Restored]:
    kept = Kept()
    return kept, await restore(kafka, PLACE, COMMITTED, kept.load, _more, since)


async def test_it_reads_on_from_an_offset_up_to_which_all_is_known() -> None:
    kafka = await _written((b"a", 1), (b"b", 2), (b"a", 3))
    kept, found = await _restored(kafka, since=1)
    assert found == Restored(records=2, ahead=GONE)
    assert kept.values == {b"b": 2, b"a": 3}


@pytest.mark.parametrize("since", [3, 4])
async def test_all_may_be_known(since: int) -> None:
    """Up to the last record, or up to the marker behind it."""
    kept, found = await _restored(await _written((b"a", 1), (b"b", 2), (b"a", 3)), since)
    assert found == Restored(records=0, ahead=GONE)
    assert kept.values == {}


@pytest.mark.parametrize("since", [None, 0])
async def test_it_reads_all_where_nothing_is_known(since: int | None) -> None:
    kept, found = await _restored(await _written((b"a", 1), (b"b", 2), (b"a", 3)), since)
    assert found == Restored(records=3, ahead=GONE)
    assert kept.values == {b"a": 3, b"b": 2}


async def test_a_topic_that_does_not_reach_so_far_is_another_one() -> None:
    with pytest.raises(NotAsCommitted, match="ends at offset 4, but a snapshot goes to 5"):
        await _restored(await _written((b"a", 1), (b"b", 2), (b"a", 3)), since=5)


async def test_it_reads_all_where_the_topic_begins_behind_the_offset() -> None:
    """What is missing in between was removed by retention, as all that stood in front of it."""
    kafka = await _written((b"a", 1), (b"b", 2), (b"a", 3))
    kafka.logs["state"][0].first = 2
    _, found = await _restored(kafka, since=1)
    assert found == Restored(records=1, ahead=GONE)


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize(
    ("messages", "ahead"),
    [
        ([(b"a", 99)], GONE),
        ([(b"a", 100)], 100),
        ([(b"a", 1), (b"b", 104), (b"a", 102)], 104),
        ([(b"a", 104), (b"b", 102), (b"a", None)], 102),
        ([(b"a", 104), (b"b", 1), (b"a", 2)], GONE),
    ],
)
async def test_a_state_is_ahead_as_long_as_nothing_replaces_it(
    monkeypatch: pytest.MonkeyPatch, messages: list[tuple[bytes, int | None]], ahead: int, batch: int
) -> None:
    """rules.md 6: what a reset took back stands in the topic, in front of its tombstones; wherever a fetch ends."""
    monkeypatch.setattr(reading, "FETCH_RECORDS", batch)
    _, found = await _restored(await _written(*messages))
    assert found == Restored(len(messages), ahead)


async def test_what_was_written_since_it_began_is_not_read() -> None:
    """It is somebody else's: the offset that the state is held against was read before."""
    kafka = await _written((b"a", 1))
    end, bounds = kafka.logs["state"][0].end, kafka.bounds

    async def written_meanwhile(topic: str, partition: int) -> tuple[int, int]:
        found = await bounds(topic, partition)
        kafka.logs["state"][0].append((b"b", b"2", 0, []), "committed")
        return found

    kafka.bounds = written_meanwhile  # type: ignore[method-assign]
    kept, found = await _restored(kafka)
    assert end == 2
    assert kept.values == {b"a": 1}
    assert found.ahead == GONE
