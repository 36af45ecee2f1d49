"""The table of alerts for Alertmanagers: those that fire, and those that ended a short while ago.

Only the newest record of each alert counts; so a receiver that was away gets the present state, and nothing queues up.
Pure: the caller passes the time.

The committed offset is that of the oldest alert that still has to be sent: read again from there, the topic gives the
same table. Committed with it is the offset below which every record is settled, so that an alert that ended long ago is
not sent once more after each restart.
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
"""How long an alert is still sent after its end: a receiver may have missed the end."""

Key = tuple[int, str]


class TrackedAlert(Struct, eq=False):
    """The newest record of an alert, at `offset` of `partition`; its first one is at `first`.

    `began`: the firing record. The labels are made of it, since they are the identity and must not change when the
    alert resolves. `until`: the wall time in milliseconds up to which the alert is sent, None while it fires.
    `settled`: a receiver accepted or refused the newest record. `sent`: when each receiver last got it, by the
    monotonic clock.
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
    """The offsets of a partition.

    `next`: to be read next. `settled`: at the assignment, all records below it were settled. `history`: alerts below it
    that have ended are no longer sent.
    """

    next: int
    settled: int
    history: int
    caught_up: bool


class AlertTable:
    """The table of at most `limit` alerts; `dropped` counts those removed to make room."""

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
            # At the very first start, alerts that ended before it are not sent.
            history = start.end if start.committed is None else settled
            self._places[number] = _PartitionOffsets(start.begin, settled, history, caught_up=start.begin >= start.end)

    def clear(self) -> None:
        """Forget all partitions and alerts."""
        self._places.clear()
        self._firing.clear()
        self._ended.clear()

    def release(self, partitions: Iterable[int]) -> bool:
        """Permit sending these partitions' alerts: they were read to the end, and only there it shows which still fire.

        Return whether this changes anything.
        """
        places = [self._places[number] for number in partitions if number in self._places]
        held_back = [place for place in places if not place.caught_up]
        for place in held_back:
            place.caught_up = True
        return bool(held_back)

    def take(self, partition: int, offset: int, alert: Alert, published_ms: int, now_ms: int) -> None:
        """Add a record to the table; it was written to the topic at `published_ms`."""
        place = self._places.get(partition)
        if place is None:  # It was read while a rebalance began.
            return
        place.next = offset + 1
        key = partition, alert.alert_id
        before = self._firing.pop(key, None) or self._ended.pop(key, None)
        began = alert if before is None or alert.state is AlertState.FIRING else before.began
        first = offset if before is None else before.first
        until = _until(alert, published_ms, now_ms)
        tracked = TrackedAlert(partition, alert, began, first, offset, until, settled=offset < place.settled)
        if until is None or until > now_ms or offset >= place.history:
            (self._firing if until is None else self._ended)[key] = tracked
            self._make_room()

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a record that is no alert."""
        if place := self._places.get(partition):
            place.next = offset + 1

    def due(self, receiver: str, resend_s: float, clock_s: float) -> list[TrackedAlert]:
        """Return the alerts that were not sent to the receiver yet, or not for `resend_s`."""
        released = {number for number, place in self._places.items() if place.caught_up}
        return [
            tracked
            for tracked in self._all()
            if tracked.partition in released and clock_s - tracked.sent.get(receiver, -inf) >= resend_s
        ]

    def holds(self, tracked: TrackedAlert) -> bool:
        """Tell whether this is still the newest record of an alert in the table."""
        key = tracked.partition, tracked.alert.alert_id
        return tracked in (self._firing.get(key), self._ended.get(key))

    def expire(self, now_ms: int) -> None:
        """Remove settled alerts that ended long enough ago."""
        for key, tracked in list(self._ended.items()):
            if tracked.settled and tracked.until is not None and tracked.until <= now_ms:
                del self._ended[key]

    def offsets(self) -> dict[int, Committed]:
        """Return the offsets to commit."""
        first = {number: place.next for number, place in self._places.items()}
        settled = {number: max(place.next, place.settled) for number, place in self._places.items()}
        for tracked in self._all():
            first[tracked.partition] = min(first[tracked.partition], tracked.first)
            if not tracked.settled:
                settled[tracked.partition] = min(settled[tracked.partition], tracked.offset)
        return {number: Committed(first[number], json.dumps({"settled": settled[number]})) for number in first}

    @property
    def waiting(self) -> int:
        """How many alerts no receiver has accepted or refused yet."""
        return sum(not tracked.settled for tracked in self._all())

    def _all(self) -> Iterator[TrackedAlert]:
        return chain(self._firing.values(), self._ended.values())

    def _make_room(self) -> None:
        """Remove the oldest while there are too many: one that ended, if there is any."""
        while len(self._firing) + len(self._ended) > self._limit:
            (self._ended or self._firing).popitem(last=False)
            self.dropped += 1


def _until(alert: Alert, published_ms: int, now_ms: int) -> int | None:
    """Return when to stop sending. An alert decided in a backlog ended long before its record was written."""
    if alert.ends_at is None and alert.state is AlertState.FIRING:
        return None
    ended = max(min(published_ms, now_ms), alert.ends_at or 0)
    return AFTERWARDS_MS + (min(ended, now_ms) if alert.state is AlertState.RESOLVED else ended)


def _settled_before(start: Start) -> int:
    """Return the offset below which every record was settled."""
    if start.committed is None:
        return start.begin
    with suppress(ValueError, TypeError, KeyError):
        return int(json.loads(start.committed.metadata)["settled"])
    return start.committed.offset
