"""Options of the pages."""

import time
from collections.abc import Callable
from typing import NamedTuple

from streamproc.version import installed


class PageOptions(NamedTuple):
    """`title`: shown beside each page's own. `rows`: on a page of a list. `clock`: Unix seconds."""

    title: str = "streamproc"
    rows: int = 50
    version: str = installed()
    clock: Callable[[], float] = time.time
