"""Objects made of settings and the files that they name; made again when the files change."""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from streamproc.errors import ConfigError

log = structlog.get_logger(__name__)

Source = TypeVar("Source")
Made = TypeVar("Made")


class Renewed(Generic[Source, Made]):
    """The last good object made of files.

    A file that cannot be used, for example because it is just being written, changes nothing: the error is logged once,
    and the file is read again the next time. Usable from any thread and any event loop.
    """

    def __init__(
        self, section: str, read: Callable[[], Source], make: Callable[[Source], Made], *, fixed: bool
    ) -> None:
        """Read and make the object for the first time; raises ConfigError.

        Args:
            section: the settings' section, for the log.
            read: returns everything that the object is made of; raises ConfigError.
            make: makes the object; raises ConfigError.
            fixed: no files are involved, so nothing is read again.
        """
        self._section = section
        self._read = read
        self._make = make
        self._fixed = fixed
        self._lock = threading.Lock()
        self._source = read()
        self._refused: Source | None = None
        self._made = make(self._source)
        self._trouble: str | None = None

    @property
    def made(self) -> Made:
        """The present object, without a look at the files."""
        return self._made

    async def current(self) -> Made:
        """Read the files, and return what is made of them by now; raises nothing."""
        # In a thread: a disk that hangs must not hold up the event loop, nor the decryption of a key.
        return self._made if self._fixed else await asyncio.to_thread(self.look)

    def look(self) -> Made:
        """Do the same in the caller's thread: for whoever cannot wait elsewhere."""
        # One look at a time: where a mount hangs, all others would wait in threads that somebody else needs.
        if not self._lock.acquire(blocking=False):
            return self._made
        try:
            return self._renewed()
        finally:
            self._lock.release()

    def _renewed(self) -> Made:
        refused, self._refused = self._refused, None
        try:
            source = self._read()
            if source == refused:
                # Half of a pair is renewed, and the other one is awaited: made once more, it would be refused again.
                self._refused = refused
                return self._made
            if source != self._source:
                self._refused = source
                self._made, self._source = self._make(source), source
                log.info("changed files are in use for new connections", settings=self._section)
            elif self._trouble is not None:
                log.info("the files are as before", settings=self._section)
        except ConfigError as error:
            if str(error) != self._trouble:
                advice = "what was read last stays in use; it is tried again before each connection"
                log.warning("a changed file cannot be used", settings=self._section, why=str(error), advice=advice)
            self._trouble = str(error)
        else:
            self._trouble = self._refused = None
        return self._made
