"""Observers as the service has them: behind the records of the tasks that they read."""

from collections.abc import Callable
from typing import Any

from streamproc.observe.fanout import Observers
from streamproc.observe.health import Health
from streamproc.observe.metrics import MetricsObserver
from streamproc.runtime.observer import Observer
from streamproc.runtime.taskrecords import TaskRecords


class Watched(Observers):
    """Tells the records first, then the one that reads them; for everything else it is that one."""

    def __init__(self, records: TaskRecords, reader: Observer) -> None:
        super().__init__(records, reader)
        self.records = records
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def watched_metrics(*arguments: Any, **settings: Any) -> Any:
    """Return metrics that know of the tasks; takes what MetricsObserver takes."""
    records = TaskRecords()
    return Watched(records, MetricsObserver(records, *arguments, **settings))


def watched_health(
    clock: Callable[[], float] | None = None, wall_clock: Callable[[], float] | None = None, **settings: Any
) -> Any:
    """Return probes that know of the tasks; takes what Health takes, and the clock that people read times by."""
    clocks = {"clock": clock, "wall_clock": wall_clock}
    records = TaskRecords(**{name: given for name, given in clocks.items() if given is not None})
    return Watched(records, Health(records, **({} if clock is None else {"clock": clock}), **settings))
