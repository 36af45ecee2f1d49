"""Whether native code works, and why: `streamproc-native`, a wheel of its own. `native/` has its source.

It is chosen when this module is imported, before any configuration file is read; so only the environment can say
STREAMPROC_NATIVE=off.
"""

import os
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

from streamproc.version import installed

WHEEL = "streamproc-native"
OFF = "off"


class Codec(NamedTuple):
    """Which codec works, `native` or `pure`, and why it is that one."""

    name: str
    reason: str


def wanted() -> str | None:
    """Return what the environment says about the native codec; None where it says nothing."""
    return os.environ.get("STREAMPROC_NATIVE")


def _choice() -> tuple[Any, Codec]:
    """Return the native module, None where it is not used, and what is used."""
    if wanted() == OFF:
        return None, Codec("pure", f"STREAMPROC_NATIVE is {OFF}")
    try:
        found = import_module("streamproc_native")
        there = version(WHEEL)
    except ImportError:  # Also where the package has no metadata.
        return None, Codec("pure", f"{WHEEL} is not installed")
    # What the two say to each other has no version but theirs.
    if there != installed():
        return None, Codec("pure", f"{WHEEL} {there} is installed, and does not fit streamproc {installed()}")
    return found, Codec("native", f"{WHEEL} {there} is installed")


module, CODEC = _choice()
