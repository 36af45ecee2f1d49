"""What an Alertmanager has to be told: the alerts that fire, and those that ended a short while ago.

The newest record of each alert counts, not the way to it; so a receiver that was away is told what is true now, and
nothing queues up. Pure: the caller says what time it is.

The offset to be committed is that of the oldest alert that still has to be sent: read again from there, the topic gives
the same table. With it goes the offset below which every record is settled, so that an alert that ended long ago is not
sent once more after each restart.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from math import inf

from msgspec import Struct, field

from streamproc.core.alerts import Alert, AlertState
from streamproc.runtime.feed import Start
from streamproc.runtime.ports import Committed

AFTERWARDS_MS = 300_000
"""For how long an alert is still sent after it ended: a receiver may have missed the news."""

Key = tuple[int, str]


class TrackedAlert(Struct, eq=False):
    """The newest record of an alert, at `offset` of `partition`; its first one is at `first`.

    `began`: the firing record. Labels are made of that one, since they are the identity and must not change when it
    resolves. `until`: the wall time in milliseconds to which it is sent, None while it fires. `settled`: somebody took
    the newest record, or refused it. `sent`: when each receiver had it last, on a clock that never jumps.
    """

    partition: int
    alert: Alert
    began: Alert
    first: int
    offset: int
    until: int | None
    settled: bool
    sent: dict[str, float] = field(default_factory=dict)


class _PartitionOffsets(Struct):
    """A partition: offsets.

    The one to be read next; the one below which all was settled when it was assigned; and the one below which nothing
    that is over is sent any more.
    """

    next: int
    settled: int
    history: int
    caught_up: bool


class AlertTable:
    """The table of alerts, of at most `limit`; `dropped` counts those that had to make room."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._places: dict[int, _PartitionOffsets] = {}
        self._firing: OrderedDict[Key, TrackedAlert] = OrderedDict()
        self._ended: OrderedDict[Key, TrackedAlert] = OrderedDict()

    def assign(self, starts: Mapping[int, Start]) -> None:
        """Start anew, with these partitions."""
        self.clear()
        for number, start in starts.items():
            settled = _settled_before(start)
            # At the very first start, what came and went before is nobody's business.
            history = start.end if start.committed is None else settled
            self._places[number] = _PartitionOffsets(start.begin, settled, history, caught_up=start.begin >= start.end)

    def clear(self) -> None:
        """Nothing is ours."""
        self._places.clear()
        self._firing.clear()
        self._ended.clear()

    def release(self, partitions: Iterable[int]) -> bool:
        """Let these partitions' alerts be sent: they were read to the end, only there it shows which still fire.

        Tell whether that is news.
        """
        places = [self._places[number] for number in partitions if number in self._places]
        held_back = [place for place in places if not place.caught_up]
        for place in held_back:
            place.caught_up = True
        return bool(held_back)

    def take(self, partition: int, offset: int, alert: Alert, published_ms: int, now_ms: int) -> None:
        """Take over a record; it came into the topic at `published_ms`."""
        place = self._places.get(partition)
        if place is None:  # Read while a rebalance began.
            return
        place.next = offset + 1
        key = partition, alert.alert_id
        before = self._firing.pop(key, None) or self._ended.pop(key, None)
        began = alert if before is None or alert.state is AlertState.FIRING else before.began
        first = offset if before is None else before.first
        until = _until(alert, published_ms, now_ms)
        held = TrackedAlert(partition, alert, began, first, offset, until, settled=offset < place.settled)
        if until is None or until > now_ms or offset >= place.history:
            (self._firing if until is None else self._ended)[key] = held
            self._make_room()

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a record that is no alert."""
        if place := self._places.get(partition):
            place.next = offset + 1

    def due(self, receiver: str, resend_s: float, clock_s: float) -> list[TrackedAlert]:
        """Return what the receiver has not had yet, or not for `resend_s`."""
        released = {number for number, place in self._places.items() if place.caught_up}
        return [
            held
            for held in self._all()
            if held.partition in released and clock_s - held.sent.get(receiver, -inf) >= resend_s
        ]

    def holds(self, held: TrackedAlert) -> bool:
        """Tell whether this is ours still, and the newest that is known of the alert."""
        key = held.partition, held.alert.alert_id
        return held in (self._firing.get(key), self._ended.get(key))

    def expire(self, now_ms: int) -> None:
        """Let go of what ended long enough ago and has been settled."""
        for key, held in list(self._ended.items()):
            if held.settled and held.until is not None and held.until <= now_ms:
                del self._ended[key]

    def offsets(self) -> dict[int, Committed]:
        """Return what to commit."""
        first = {number: place.next for number, place in self._places.items()}
        settled = {number: max(place.next, place.settled) for number, place in self._places.items()}
        for held in self._all():
            first[held.partition] = min(first[held.partition], held.first)
            if not held.settled:
                settled[held.partition] = min(settled[held.partition], held.offset)
        return {number: Committed(first[number], json.dumps({"settled": settled[number]})) for number in first}

    @property
    def waiting(self) -> int:
        """How many alerts nobody has taken or refused yet."""
        return sum(not held.settled for held in self._all())

    def _all(self) -> Iterator[TrackedAlert]:
        return chain(self._firing.values(), self._ended.values())

    def _make_room(self) -> None:
        """Let the oldest go where there are too many: one that ended, if there is any."""
        while len(self._firing) + len(self._ended) > self._limit:
            (self._ended or self._firing).popitem(last=False)
            self.dropped += 1


def _until(alert: Alert, published_ms: int, now_ms: int) -> int | None:
    """Return when to stop sending. What was decided in a backlog ended long before anybody could read of it."""
    if alert.ends_at is None and alert.state is AlertState.FIRING:
        return None
    ended = max(min(published_ms, now_ms), alert.ends_at or 0)
    return AFTERWARDS_MS + (min(ended, now_ms) if alert.state is AlertState.RESOLVED else ended)


def _settled_before(start: Start) -> int:
    """Return below which offset every record was settled."""
    if start.committed is None:
        return start.begin
    with suppress(ValueError, TypeError, KeyError):
        return int(json.loads(start.committed.metadata)["settled"])
    return start.committed.offset
