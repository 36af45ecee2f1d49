"""What the push tells whoever watches it.

`observe` stands beside this layer and does not know it: whatever has these methods is a PushObserver.
"""

from enum import StrEnum
from typing import Protocol


class DeliveryResult(StrEnum):
    """What became of an attempt to deliver an alert. FAILED ones are tried again; DROPPED: given up by us."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"
    DROPPED = "dropped"


class PushObserver(Protocol):
    """All calls come from the event loop and must return at once."""

    def sent(self, receiver: str, result: str, count: int) -> None:
        """`count` alerts in one request to a receiver (`alertmanager`, `webhook`) had this `DeliveryResult`."""

    def waiting(self, receiver: str, count: int) -> None:
        """So many alerts were read and have neither been delivered nor refused yet."""
