"""The pauses of one partition: for a schema that the registry does not return, for fewer rejections, for an operator.

It reads and commits nothing. A wait ends when its cause is over, when it is cancelled, or after somebody else has
committed an offset of the partition, which is how `streamproc offsets skip` and `resume` reach a service.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from streamproc.awaiting import seen
from streamproc.backoff import Backoff
from streamproc.codec.framing import label
from streamproc.errors import BrokerUnavailable, ConfigError, RegistryUnavailable, RejectionReason, StreamprocError
from streamproc.runtime.config import DeadLetterSettings
from streamproc.runtime.learning import Registry
from streamproc.runtime.observer import CommitReport, Observer, Pause
from streamproc.runtime.ports import TopicPartition, Unreadable
from streamproc.runtime.rejections import Closed, RejectionGate
from streamproc.runtime.stage import Allows

POLL_S = 0.1
LOOK_S = 3.0
QUIET_S = 1.0
"""A wait for an answer is reported only after this time."""
TRY_AGAIN_S = 30.0
"""The wait before an unreadable batch is read again: it may have been damaged on the way."""
MIN_DISK_S, MAX_DISK_S = 1.0, 30.0
"""Each try may delay the commits of all partitions."""
SLOW_S = 10.0
"""A disk that is behind is reported only after this time."""
SHOWN = 5
"""How many schemas a message names; it counts the rest."""

Moved = Callable[[], Awaitable[bool]]
"""Returns whether somebody else has committed an offset since the task did."""
Look = Callable[[], Awaitable[None]]
"""Looks up the end of the partition, and reports the lag: no fetch does so meanwhile."""


class DecidedElsewhere(StreamprocError):
    """Somebody else committed an offset of the partition while it waited: the task starts over from there."""


Waits = Callable[[], bool]
"""Returns whether the wait still makes sense."""


class Pauses:
    """The pauses of one partition. `now_ms`: the wall clock."""

    def __init__(
        self,
        source: TopicPartition,
        registry: Registry | None,
        limits: DeadLetterSettings,
        observer: Observer,
        now_ms: Callable[[], int],
        moved: Moved,
        look: Look,
    ) -> None:
        self._source = source
        self._registry = registry
        self._limits = limits
        self._gate = RejectionGate(limits)
        self._observer = observer
        self._now_ms = now_ms
        self._moved = moved
        self._look = look
        self._reported: Closed | None = None
        self._waits = self._is_void = False
        self._looked_at = self._full_since = 0.0
        self._looking: asyncio.Future[None] | None = None
        self._disk_backoff = Backoff(MIN_DISK_S, MAX_DISK_S)
        self._backoff = Backoff()
        self._asked_at = -1

    def committed(self, report: CommitReport) -> None:
        """Count the rejections of a confirmed commit; no others count."""
        self._gate.passed(report.records, report.rejected, self._now_ms())

    def reset(self) -> None:
        """Report the next pause even if it is the same: the task has entered another state."""
        self._reported = None

    def start_over(self) -> None:
        """Forget the rejections: somebody has decided where the partition goes on."""
        self._gate = RejectionGate(self._limits)
        self._is_void = False
        self.go_on()

    def go_on(self) -> None:
        """Report that the partition no longer waits, if it did."""
        self._full_since = 0.0
        if self._waits:
            self._disk_backoff.succeeded()
            self._reported, self._waits = None, False
            self._observer.resumed(self._source)

    def allows(self) -> Allows | None:
        """Return what tells whether a commit may reject so many for a reason; None where nothing is limited."""
        return self._gate.allows if self._gate.is_limited else None

    def exceeded(self, reason: RejectionReason) -> None:
        """Note that the next record is to be rejected, but is over the limit of its cause."""
        self._gate.exceeded(reason)

    def is_closed(self) -> bool:
        """Return whether too much was rejected for anything to pass now."""
        return self._gate.closed(self._now_ms()) is not None

    async def at_gate(self) -> None:
        """Wait while too much was rejected. Raises DecidedElsewhere, as every wait in here."""
        async with self._watched() as waits:
            while (why := self._gate.closed(self._now_ms())) is not None and waits():
                self._tell(*why)
                await asyncio.sleep(POLL_S)
        self.go_on()

    async def at_unreadable(self, error: Unreadable) -> None:
        """Wait a while at an unreadable batch; then it may be tried again."""
        self._tell(Pause.UNREADABLE, with_way_out(error))
        async with self._watched() as waits:
            await self._rest(TRY_AGAIN_S, waits)

    async def learn(self, missing: Sequence[bytes], offset: int) -> None:
        """Ask the registry once for schemas that the records from `offset` on need; if it is away, wait a little."""
        # Learned a moment ago, and missing again: where the book has no room for all at once, one has to do.
        wanted = missing[:1] if offset == self._asked_at else missing
        self._asked_at = offset
        async with self._watched() as waits:
            try:
                if not await self._answered(wanted, waits):
                    return
            except RegistryUnavailable as error:
                self._asked_at = -1
                self._tell(Pause.REGISTRY, f"{_shown(wanted)}: {error}")
                await self._rest(max(self._backoff.failed(), error.retry_after_s or 0), waits)
            else:
                self._backoff.succeeded()
                self.go_on()

    def refused(self, why: Pause, message: str) -> None:
        """Report that an output partition accepts nothing, or that Kafka denies something; `go_on` ends it."""
        self._tell(why, message)

    def full(self, trouble: str) -> None:
        """Report that payloads have no room, and why, once that lasts; `go_on` ends it."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if now - self._full_since >= (QUIET_S if trouble else SLOW_S):
            self._tell(Pause.STATE_FULL, trouble or "payloads come faster than the disk takes them")
        if self._reported is not None and now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(seen)

    async def at_disk(self, message: str) -> None:
        """Wait a while for a disk that cannot be read."""
        self._tell(Pause.STATE_FULL, message)
        async with self._watched() as waits:
            await self._rest(self._disk_backoff.failed(), waits)

    async def _answered(self, wanted: Sequence[bytes], waits: Waits) -> bool:
        """Wait for the answer; False where somebody has decided meanwhile."""
        assert self._registry is not None  # noqa: S101  without one the book misses nothing
        quiet_until = time.monotonic() + QUIET_S
        asking = asyncio.create_task(self._registry.learn(wanted))
        try:
            while waits():
                if (await asyncio.wait({asking}, timeout=POLL_S))[0]:
                    asking.result()
                    return True
                if self._reported is None and time.monotonic() > quiet_until:
                    self._tell(Pause.REGISTRY, f"{_shown(wanted)}: the registry has not answered yet")
        finally:
            asking.cancel()
            asking.add_done_callback(seen)
        return False

    async def _rest(self, seconds: float, waits: Waits) -> None:
        until = time.monotonic() + seconds
        while waits() and (left_s := until - time.monotonic()) > 0:  # noqa: ASYNC110  asking is how one finds out
            await asyncio.sleep(min(POLL_S, left_s))

    def _tell(self, why: Pause, message: str) -> None:
        if (why, message) != self._reported:
            self._reported, self._waits = (why, message), True
            self._observer.paused(self._source, why, message)

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[Waits]:
        """Watch the committed offset during a wait; yields a `Waits`. Raises DecidedElsewhere."""
        watching = asyncio.create_task(self._watch())
        try:
            yield lambda: not self._is_void
        finally:
            # It is not awaited: while the broker is away, it takes as long as a request may.
            watching.cancel()
            watching.add_done_callback(seen)
        if self._is_void:
            raise DecidedElsewhere(f"the committed offset of {self._source} is another one now")

    async def _watch(self) -> None:
        """Look up the end of the partition, as no fetch does, and whether somebody else committed its offset."""
        while True:
            if self._reported is not None and time.monotonic() - self._looked_at >= LOOK_S:
                self._looked_at = time.monotonic()
                with suppress(BrokerUnavailable, ConfigError):
                    await self._look()
                    self._is_void = self._is_void or await self._moved()
            await asyncio.sleep(POLL_S)


def with_way_out(error: Unreadable) -> str:
    """Say what cannot be read, and the command that passes over it."""
    place = f"{error.place.topic}:{error.place.partition}:{error.first}"
    return f'{error}. To skip it: `streamproc offsets skip {place} --through {error.last} --why "..."`'


def _shown(headers: Sequence[bytes]) -> str:
    more = len(headers) - SHOWN
    return ", ".join(map(label, headers[:SHOWN])) + (f" and {more} more" if more > 0 else "")
