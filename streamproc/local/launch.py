"""Running a command until it is ready, or has come to something else.

Apart from the watchdog, which runs as a program without the package.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from streamproc.awaiting import done_before
from streamproc.local.watchdog import Guarded


async def run_until(
    guarded: Guarded, ready: Callable[[], Coroutine[Any, Any, None]], deadline_s: float, *command: str
) -> str | None:
    """Start a command and wait until it is ready; return what came instead, None where it is."""
    exited = await guarded.run(*command)
    if await done_before(ready(), exited, within_s=deadline_s):
        return None
    return f"ended with code {exited.result()}" if exited.done() else f"not ready after {deadline_s:.0f} s"
