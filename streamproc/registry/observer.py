"""What the registry client tells whoever watches it.

`observe` stands beside this layer and does not know it: whatever has these methods is a RegistryObserver.
"""

from enum import StrEnum
from typing import Protocol


class RequestResult(StrEnum):
    """What became of a request to one URL. FAILED: no answer, or none that a registry gives; also what it refuses."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    FAILED = "failed"


class RegistryObserver(Protocol):
    """All calls come from the event loop and must return at once."""

    def requested(self, result: str) -> None:
        """A request had this `RequestResult`."""


class Unwatched:
    """Takes no notice."""

    def requested(self, result: str) -> None:
        """Do nothing."""


SILENT = Unwatched()
