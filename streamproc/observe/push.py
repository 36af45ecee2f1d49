"""Metrics of the push of alerts."""

import time
from collections.abc import Callable, Iterator
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.notify.observer import DeliveryResult, PushObserver, Receiver
from streamproc.observe import names
from streamproc.observe.labels import closed
from streamproc.observe.series import CounterSeries, gauge


class PushMetrics(PushObserver):
    """What the push reports, by kind of receiver. `clock` gives wall time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._receivers, self._results = closed(Receiver), closed(DeliveryResult)
        self._sent = CounterSeries(names.PUSH_SENT, product(Receiver, DeliveryResult))
        self._waiting = dict.fromkeys(self._receivers.values(), 0)
        self._succeeded_at = dict.fromkeys(self._receivers.values(), 0.0)

    def sent(self, receiver: Receiver, result: DeliveryResult, count: int) -> None:
        """Count a receiver's result for `count` alerts."""
        label = self._receivers[receiver]
        self._sent.add(count, label, self._results[result])
        if result is DeliveryResult.DELIVERED:
            self._succeeded_at[label] = self._clock()

    def waiting(self, receiver: Receiver, count: int) -> None:
        """Note how many alerts are neither delivered nor refused."""
        self._waiting[self._receivers[receiver]] = count

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        yield self._sent.family()
        yield gauge(names.PUSH_WAITING, {(receiver,): count for receiver, count in self._waiting.items()})
        yield gauge(names.PUSH_LAST_SUCCESS, {(receiver,): at for receiver, at in self._succeeded_at.items()})
