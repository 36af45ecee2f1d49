"""The interface by which the push reports to its observers, such as `observe`."""

from enum import StrEnum
from typing import Protocol

from streamproc.vocabulary import Vocabulary


class Receiver(StrEnum):
    """The kinds of receivers."""

    ALERTMANAGER = "alertmanager"
    WEBHOOK = "webhook"


class DeliveryResult(Vocabulary):
    """The result of an attempt to deliver an alert."""

    DELIVERED = "delivered", "The receiver took it."
    FAILED = "failed", "There was no answer, or one such as 503: it is tried again."
    REFUSED = "refused", "The receiver will never accept it: it is skipped."
    DROPPED = "dropped", "It was given up: too old, or there were too many."


class PushObserver(Protocol):
    """All calls come from the event loop and must return at once."""

    def sent(self, receiver: Receiver, result: DeliveryResult, count: int) -> None:
        """`count` alerts in one request to a receiver had this result."""

    def waiting(self, receiver: Receiver, count: int) -> None:
        """So many alerts were read and have neither been delivered nor refused yet."""
