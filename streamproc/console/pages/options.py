"""What the pages are told at their start."""

import time
from collections.abc import Callable
from typing import NamedTuple

from streamproc.version import installed


class PageOptions(NamedTuple):
    """`title`: beside each page's own. `rows`: of a page of a list. `clock`: Unix seconds."""

    title: str = "streamproc"
    rows: int = 50
    version: str = installed()
    clock: Callable[[], float] = time.time
