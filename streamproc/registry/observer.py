"""The observer of the registry client.

A Protocol, because `observe` must not import this layer: any object with these methods is a RegistryObserver.
"""

from enum import StrEnum
from typing import Protocol


class RequestResult(StrEnum):
    """The result of a request to one URL. FAILED: no answer, one that is not a registry's, or a refusal."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    FAILED = "failed"


class RegistryObserver(Protocol):
    """All calls come from the event loop and must return at once."""

    def requested(self, result: str) -> None:
        """A request had this `RequestResult`."""


class Unwatched:
    """Ignores all calls."""

    def requested(self, result: str) -> None:
        """Do nothing."""


SILENT = Unwatched()
