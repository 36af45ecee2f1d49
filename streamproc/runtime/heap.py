"""Gives memory back to the system that the C library keeps for what comes next."""

import ctypes
from contextlib import suppress


def trim() -> None:
    """Give back what was used once, and is free: after a restore some hundred megabytes. Where it can be done."""
    with suppress(OSError, AttributeError):  # Only glibc has it.
        ctypes.CDLL(None).malloc_trim(0)
