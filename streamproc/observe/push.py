"""How the push of alerts is doing. `streamproc.notify` knows this as one of its PushObservers."""

import time
from collections.abc import Callable, Iterator
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.observe import names
from streamproc.observe.labels import closed
from streamproc.observe.series import CounterSeries, gauge

RECEIVERS = ("alertmanager", "webhook")
DELIVERED = "delivered"
RESULTS = (DELIVERED, "dropped", "failed", "refused")
"""What may become of an alert; a test compares it with what the push says."""


class PushMetrics:
    """What the push reports, by kind of receiver. `clock` gives wall time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._receivers, self._results = closed(RECEIVERS), closed(RESULTS)
        self._sent = CounterSeries(names.PUSH_SENT, product(RECEIVERS, RESULTS))
        self._waiting = dict.fromkeys(RECEIVERS, 0)
        self._succeeded_at = dict.fromkeys(RECEIVERS, 0.0)

    def sent(self, receiver: str, result: str, count: int) -> None:
        """Count what a receiver said to `count` alerts."""
        label = self._receivers[receiver]
        self._sent.add(count, label, self._results[result])
        if result == DELIVERED:
            self._succeeded_at[label] = self._clock()

    def waiting(self, receiver: str, count: int) -> None:
        """Note how many alerts have neither been delivered nor refused."""
        self._waiting[self._receivers[receiver]] = count

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        yield self._sent.family()
        yield gauge(names.PUSH_WAITING, {(receiver,): count for receiver, count in self._waiting.items()})
        yield gauge(names.PUSH_LAST_SUCCESS, {(receiver,): at for receiver, at in self._succeeded_at.items()})
