"""Restores the state of a partition from its topic: completely and proven right, or not at all (rules.md 6)."""

from asyncio import sleep
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.ports import Kafka, TopicPartition, Unreadable
from streamproc.runtime.position import Position
from streamproc.runtime.reading import fetches

HALT_S = 30.0
"""Longer than a command waits: after a failure everything has to be read again."""
LOOK_S = 0.1
MAX_LOOKS = 100
"""How often to check for the end of an open transaction before the restore counts as failed and is tried again."""

OTHER_WAYS_OUT = (
    "restore both the topic and the group's offsets from one backup; or start with a new application_id and new output "
    "topics"
)
WAYS_OUT = (
    "Ways out: stop the service and run `streamproc offsets reset --to earliest`, which rebuilds the state from what "
    f"the input still holds, and whose --dry-run says what that means; {OTHER_WAYS_OUT}"
)


GONE = -1


class KeyOrigins(NamedTuple):
    """Keys of states, and for each the input offset that it came from, GONE if it was removed."""

    keys: Sequence[Hashable]
    offsets: Sequence[int]


Load = Callable[[Sequence[Arrival]], KeyOrigins]
"""Loads the latest record of each key into a state."""


class NotAsCommitted(ConfigError):
    """A state is not the one that was committed."""


class Restored(NamedTuple):
    """What a restore came across: how many records, and the highest offset that is ahead of the commit (-1: none).

    That is of what is live at the end: what a reset has taken back stands in the topic, in front of its tombstones.
    """

    records: int
    ahead: int


async def restore(
    kafka: Kafka,
    topic: TopicPartition,
    committed: int,
    load: Load,
    on_progress: Callable[[int], Awaitable[None]],
    since: int | None = None,
) -> Restored:
    """Read everything below the last stable offset, as it is now; `load` takes the records.

    `committed`: the input's offset, which no state may come from, nor from one behind it. `since`: what stands in front
    of it is known already. `on_progress` is told how much is left, and returns when more may be loaded.
    Raises NotAsCommitted where the topic does not reach as far as `since`, BrokerUnavailable where reading comes to a
    halt before the end, ConfigError for a record that is unreadable.
    """
    first, last = await _stable_bounds(kafka, topic)
    if since is not None:
        if since > last:
            raise NotAsCommitted(f"{topic} ends at offset {last}, but a snapshot goes to {since}. {WAYS_OUT}")
        first = max(first, since)
    reader = await kafka.reader(*topic)
    try:
        count, ahead = 0, dict[Hashable, int]()
        async with aclosing(fetches(reader, topic, first, last, HALT_S)) as brought:
            async for records, at in brought:
                count += len(records)
                sources = _loaded(topic, load, records)
                if ahead or max(sources.offsets, default=GONE) >= committed:
                    _note(ahead, sources, committed)
                await on_progress(max(0, last - at))
        return Restored(count, max(ahead.values(), default=GONE))
    except Unreadable as error:
        raise state_unreadable(error) from error
    finally:
        await reader.close()


def _loaded(topic: TopicPartition, load: Load, records: Sequence[Arrival]) -> KeyOrigins:
    try:
        return load(records)
    except ConfigError as error:
        raise ConfigError(f"{topic}: {error}") from error


def _note(ahead: dict[Hashable, int], sources: KeyOrigins, committed: int) -> None:
    """Note which states are ahead of the commit by now."""
    for key, offset in zip(*sources, strict=True):
        if offset >= committed:
            ahead[key] = offset
        else:
            ahead.pop(key, None)


async def _stable_bounds(kafka: Kafka, topic: TopicPartition) -> tuple[int, int]:
    """Return the first offset and the last stable one, once nothing that is there now is behind an open transaction.

    Of a worker that was fenced there may be one for a moment: what stands behind it is not to be seen until it ended.
    """
    high, looks = await kafka.high_watermark(*topic), 0
    while True:
        first, last = await kafka.bounds(*topic)
        if last >= high:
            return first, last
        looks += 1
        if looks >= MAX_LOOKS:
            message = f"an open transaction holds back {topic} from offset {last} on: its timeout ends it at the latest"
            raise BrokerUnavailable(message)
        await sleep(LOOK_S)


def state_unreadable(error: Unreadable) -> ConfigError:
    """Return the error for an unreadable state: then it is also unknown which keys to drop."""
    return ConfigError(f"{error}. Without its state the service cannot start. Ways out: {OTHER_WAYS_OUT}")


def prove(live_keys: int, restored: Restored, position: Position, where: str) -> None:
    """Compare a restored state with what was committed with the offset; raises NotAsCommitted if they differ."""
    if live_keys != position.live_keys:
        message = (
            f"{where} holds {live_keys} keys, but {position.live_keys} were committed with offset "
            f"{position.offset}: the state topic was deleted, recreated or truncated. {WAYS_OUT}"
        )
        raise NotAsCommitted(message)
    if restored.ahead >= 0:
        message = (
            f"{where} is ahead of the committed offset {position.offset}: it holds offset {restored.ahead}. {WAYS_OUT}"
        )
        raise NotAsCommitted(message)


def refuse_orphans(restored: Restored, where: str) -> None:
    """Refuse a state without a committed offset: offsets expire in groups that are left empty for days.

    Tombstones count too: every run may have been forgotten, and all of the input be replayed in silence.
    """
    if restored.records:
        message = (
            f"{where} holds {restored.records} records, but the consumer group has no committed offset for it: offsets "
            f"expire in a group that is left empty (offsets.retention.minutes). {WAYS_OUT}"
        )
        raise ConfigError(message)
