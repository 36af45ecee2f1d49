"""Says again and again, in run-instances, how the instance is. Whatever fails is logged once, and tried again.

It shares the process and the event loop with the pipeline, and nothing else. A report is made right before it is sent,
so none waits for another.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog

from streamproc.awaiting import set_within
from streamproc.codec.instances import Instance, InstanceEncoder, Partition
from streamproc.errors import ConfigError, StreamprocError
from streamproc.instances.process import host, usage
from streamproc.runtime.denied import Denied
from streamproc.runtime.writer import Writer
from streamproc.version import installed

STOP_S = 1.0
"""For the current report, and the last one, which says that the instance stopped."""
ADVICE = "nothing else depends on it; STREAMPROC_INSTANCES__ENABLED=false does without"

log = structlog.get_logger(__name__)

Readiness = Callable[[], tuple[bool, Mapping[str, Any]]]
"""What /readyz answers: whether it passes, with `status` and `message` among the reasons."""


class ReportedParts(NamedTuple):
    """The sources of a report."""

    readiness: Readiness
    partitions: Callable[[], list[Partition]]


class Identity(NamedTuple):
    """The identity of an instance: it stays the same as long as the instance runs."""

    instance_id: str
    application_id: str
    profile: str


class Reporter:
    """Reports while its context is entered. `clock`: the wall clock, in seconds."""

    def __init__(
        self,
        identity: Identity,
        interval_s: float,
        watched: ReportedParts,
        encoder: InstanceEncoder,
        writer: Writer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._interval_s = interval_s
        self._watched = watched
        self._encoder = encoder
        self._writer = writer
        self._clock = clock
        self._constant = {
            **identity._asdict(),
            "version": installed(),
            "host": host(),
            "started_at": self._now_ms(),
            "interval_ms": int(interval_s * 1000),
        }
        self._stopping = asyncio.Event()
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to report."""
        self._task = asyncio.create_task(self._run(), name="report of the instance")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End within STOP_S of `stop`; without a call of `stop`, the last report stays as it is."""
        assert self._task is not None  # noqa: S101  it was entered
        if not self._stopping.is_set():
            self._task.cancel()
        await asyncio.wait({self._task})
        await self._writer.close()

    def stop(self) -> None:
        """Begin to stop: report it in the topic while the pipeline ends."""
        if self._task is not None and not self._stopping.is_set():
            self._stopping.set()
            asyncio.get_running_loop().call_later(STOP_S, self._task.cancel)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            next_at = loop.time() + self._interval_s
            await self._try(self._report)
            await set_within(self._stopping, max(0.0, next_at - loop.time()))
        await self._try(self._farewell)

    async def _try(self, write: Callable[[], Any]) -> None:
        try:
            await write()
        except Exception as error:  # noqa: BLE001  whatever it is: the pipeline goes on
            # The words of what somebody has to change stay the same; those of an outage may differ each time.
            trouble = str(error) if isinstance(error, ConfigError | Denied) else type(error).__name__
            if trouble != self._trouble:
                self._trouble = trouble
                log.warning("this instance does not get its report through", why=_why(error), advice=ADVICE)
        else:
            if self._trouble:
                self._trouble = ""
                log.info("this instance gets its report through again")

    async def _report(self) -> None:
        await self._writer.write(self._encoder.report(self._instance()))

    async def _farewell(self) -> None:
        await self._writer.write(self._encoder.tombstone(self._identity.instance_id, self._now_ms()))

    def _instance(self) -> Instance:
        ready, reasons = self._watched.readiness()
        cpu_seconds, memory_bytes = usage()
        return Instance(
            **self._constant,
            reported_at=self._now_ms(),
            status=reasons["status"],
            message=reasons["message"],
            ready=ready,
            cpu_seconds=cpu_seconds,
            memory_bytes=memory_bytes,
            partitions=self._watched.partitions(),
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _why(error: Exception) -> str:
    """Return the text of our own errors, else the class name: other texts may contain payload."""
    return str(error) if isinstance(error, StreamprocError) else type(error).__name__
