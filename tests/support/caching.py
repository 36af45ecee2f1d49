"""What tests fetch once and keep: in the user's cache, whole or not at all."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory


class Unfetchable(Exception):
    """There is no way to it from here; the message says why."""


def cache_root() -> Path:
    """Return where everything of streamproc's is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamproc"


def cached(name: str, fill: Callable[[Path], Path]) -> Path:
    """Return the directory `name` of the cache.

    Where it is missing, `fill` is given a scratch directory beside it and returns the part that becomes it. One process
    at a time; the others wait for it.
    """
    target = cache_root() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with TemporaryDirectory(prefix="fetching-", dir=target.parent) as scratch:
                fill(Path(scratch)).rename(target)
    return target
