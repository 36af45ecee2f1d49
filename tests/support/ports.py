"""The ports that are there by default: of all processes of the tests one at a time may use them."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def default_ports() -> Iterator[None]:
    """Wait until no other test uses the ports that the service and the console have by default, and keep them."""
    with (Path(tempfile.gettempdir()) / "streamproc-tests-default-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
