"""What the registry client tells whoever watches it, such as `observe`."""

from typing import Protocol

from streamproc.vocabulary import Vocabulary


class RequestResult(Vocabulary):
    """What became of a request to one URL. FAILED: no answer, or none that a registry gives; also what it refuses."""

    FOUND = "found", "The registry has it."
    NOT_FOUND = "not_found", "The registry says that there is none."
    FAILED = "failed", "There was no answer, or a refusal."


class RegistryObserver(Protocol):
    """All calls come from the event loop and must return at once."""

    def requested(self, result: RequestResult) -> None:
        """A request had this result."""


class Unwatched:
    """Ignores all calls."""

    def requested(self, result: RequestResult) -> None:
        """Do nothing."""


SILENT = Unwatched()
