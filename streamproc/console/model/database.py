"""The read model's file: opened, checked, rebuilt. One connection writes; each reading thread has its own.

A file with any fault is rebuilt: all its content comes from the topics.
"""

import fcntl
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, TypeVar
from uuid import uuid4

from streamproc.console.model.tables import VERSION, statements
from streamproc.console.reads import Busy
from streamproc.errors import ConfigError

T = TypeVar("T")

QUERY_S = 0.25
"""Time limit of one query. A reader releases its snapshot after that, so that the log can be folded into the file."""
STEPS = 1_000
"""SQLite instructions between two checks of the time."""
CACHE_KIB = 65_536
CHECKPOINT_PAGES = 50_000
SUFFIXES = ("", "-wal", "-shm", "-journal")
IDENTITY = "identity"
EPOCH = "epoch"


class RebuildCause(StrEnum):
    """Why a read model was built anew, in one word."""

    ABSENT = "absent"
    DAMAGED = "damaged"
    OTHER_SETTINGS = "other_settings"
    OTHER_TOPIC = "other_topic"
    RETENTION = "retention"


class Database:
    """A read model in a file. `identity`: the settings that it was made with; a file with other settings is rebuilt.

    `why_rebuilt`: the reason, empty if it was not rebuilt; `untouched_s`: seconds from the last write until it was
    opened; `rebuilds`: counts by cause; `interrupted`: how many queries took longer than QUERY_S.

    Raises ConfigError where another process has the file, or the directory cannot be written to.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], index_metadata: tuple[str, ...] = ()) -> None:
        self.path = path
        self.index_metadata = index_metadata
        self.epoch = ""
        self.untouched_s = _age_s(path)
        self.rebuilds: Counter[RebuildCause] = Counter()
        self.interrupted = 0
        self._identity = f"{VERSION} {sorted(identity.items())} {index_metadata}"
        self._local = threading.local()
        # No reader may open a file that is being made: `_readers` counts those that read, `_is_making` refuses others.
        self._turns = threading.Condition()
        self._readers, self._is_making = 0, False
        self._lock = _locked(path)
        try:
            self.why_rebuilt = self._open()
        except BaseException:
            self._lock.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write in a transaction, which any exception rolls back. Only one thread at a time may write."""
        self.writer.execute("BEGIN IMMEDIATE")
        try:
            yield self.writer
        except BaseException:
            self.writer.rollback()
            raise
        self.writer.commit()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on one snapshot; raises Busy after QUERY_S, and while the file is being rebuilt."""
        with self._reading():
            connection = self._reader()
            deadline = time.monotonic() + QUERY_S
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            try:
                connection.execute("BEGIN")
                return query(connection)
            except sqlite3.OperationalError as error:
                if "interrupted" in str(error):
                    with self._turns:
                        self.interrupted += 1
                    raise Busy("the query took too long: filter for more, or ask for less") from None
                raise
            finally:
                connection.rollback()
                connection.set_progress_handler(None, 0)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._turns:
            if self._is_making:
                raise Busy("the read model is being built anew: ask again")
            self._readers += 1
        try:
            yield
        finally:
            with self._turns:
                self._readers -= 1
                self._turns.notify_all()

    def rebuild(self, cause: RebuildCause, why: str) -> None:
        """Begin anew with an empty file. `why`: in words, for people."""
        with suppress(sqlite3.Error, AttributeError):  # It may never have been opened.
            self.writer.close()
        self.why_rebuilt = why
        self.rebuilds[cause] += 1
        with self._turns:
            self._is_making = True
            self._turns.wait_for(lambda: not self._readers)
        try:
            self._make()
        finally:
            with self._turns:
                self._is_making = False

    def fold_log(self) -> None:
        """Fold the write-ahead log into the file and truncate it, unless a reader needs it. Call it when idle."""
        self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def bytes(self) -> int:
        """Return the size of the file and its log in bytes."""
        size = 0
        for suffix in SUFFIXES:
            with suppress(FileNotFoundError):
                size += self.path.with_name(self.path.name + suffix).stat().st_size
        return size

    def close(self) -> None:
        """Close the connections of this thread and of the writer, and release the file's lock."""
        self.writer.close()
        with suppress(AttributeError):
            self._local.connection.close()
        self._lock.close()

    def _open(self) -> str:
        """Open the file, or make it; return why it was rebuilt, or an empty text."""
        if not self.path.exists():
            self._make()
            self.rebuilds[RebuildCause.ABSENT] += 1
            return "there was none"
        try:
            self.writer = _connected(self.path)
            meta = dict(self.writer.execute("SELECT name, value FROM meta"))
            # This reads the root page of every table and index, which detects most torn files; others fail in use.
            self.writer.execute("SELECT count(*) FROM sqlite_schema, (SELECT max(id) FROM runs)").fetchone()
        except sqlite3.DatabaseError as error:
            self.rebuild(RebuildCause.DAMAGED, f"it was damaged, or no read model ({error})")
            return self.why_rebuilt
        if meta.get(IDENTITY) != self._identity:
            self.rebuild(RebuildCause.OTHER_SETTINGS, "it was made by another version, or with other settings")
            return self.why_rebuilt
        self.epoch = meta[EPOCH]
        return ""

    def _make(self) -> None:
        for suffix in SUFFIXES:
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.touch(0o600)
        self.writer = _connected(self.path)
        epoch = uuid4().hex[:8]
        with self.transaction() as writer:
            for statement in statements(self.index_metadata):
                writer.execute(statement)
            writer.executemany("INSERT INTO meta VALUES (?, ?)", [(IDENTITY, self._identity), (EPOCH, epoch)])
        self.epoch = epoch

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection; after a rebuild it is reopened, because the file is another one."""
        if getattr(self._local, EPOCH, None) != self.epoch:
            if getattr(self._local, "connection", None) is not None:
                self._local.connection.close()
            self._local.connection = _connected(self.path)
            self._local.connection.execute("PRAGMA query_only = true")
            self._local.epoch = self.epoch
        connection: sqlite3.Connection = self._local.connection
        return connection


def _connected(path: Path) -> sqlite3.Connection:
    # Threads of a pool pass connections on, but never use one at the same time.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may lose the last transactions, rows and offsets together: the records are read again.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection


def _age_s(path: Path) -> float:
    """Return how long ago the file was written, 0 where there is none."""
    files = [file for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()]
    return max(0.0, time.time() - max((file.stat().st_mtime for file in files), default=time.time()))


def _locked(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("a")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): set STREAMPROC_CONSOLE__DATABASE to a file elsewhere"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(
            f"another console uses {path}: each has a read model of its own, set STREAMPROC_CONSOLE__DATABASE"
        ) from None
    return lock
