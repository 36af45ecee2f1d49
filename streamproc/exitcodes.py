"""The exit codes of all commands, and what each means: docs/reference/commands.md is made of them."""

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command tells a script. From 128 on: the number of the signal that ended it, as shells have it."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "Done; for commands that run until they are stopped (`run`, `tail`): stopped.",
    ExitCode.FAILED: "It failed, or a check failed.",
    ExitCode.WRONG_USAGE: "Arguments or settings are wrong; `schema check`: or a schema could not be checked.",
    ExitCode.INTERRUPTED: "Ctrl-C before the end, or SIGTERM where the command had something to put in order first.",
    ExitCode.READER_GONE: "Nobody reads the rest of the output, as behind a pipe to `head`; `tail` ends with 0 then.",
    ExitCode.TERMINATED: "SIGTERM before the end, where there was nothing to put in order.",
}
