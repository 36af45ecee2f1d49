"""What a receiver of alerts is to the loop that reads them for it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from streamproc.core.alerts import Alert
from streamproc.notify.observer import Receiver
from streamproc.runtime.feed import Start
from streamproc.runtime.ports import Committed


class Sink(Protocol):
    """Takes the alerts of the partitions that are ours, and delivers them in its own time."""

    @property
    def name(self) -> Receiver:
        """Of which kind the receiver is."""

    @property
    def waiting(self) -> int:
        """How many alerts were taken and neither delivered nor refused yet."""

    def assign(self, starts: Mapping[int, Start]) -> None:
        """Forget everything; these partitions are ours, and are read from their starts on."""

    def clear(self) -> None:
        """Forget everything: nothing is ours."""

    async def room(self) -> None:
        """Wait until more can be taken."""

    def take(self, partition: int, offset: int, alert: Alert, published_ms: int) -> None:
        """Take over an alert; the topic got it at `published_ms`."""

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a record that is no alert."""

    def release(self, partitions: Iterable[int]) -> None:
        """These partitions were read to the end that was there at the start."""

    def settle(self) -> dict[int, Committed]:
        """Let go of what is done; return what to commit. Called about once a second."""

    async def run(self) -> None:
        """Deliver, until cancelled."""
