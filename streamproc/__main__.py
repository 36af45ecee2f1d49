"""The entry point, also of `python -m streamproc`: light, so that a signal finds it before everything else is there."""

import os
import signal

INTERRUPTED = 130
TERMINATED = 143


def main() -> None:
    """Load the command line and run it; an interruption meanwhile ends the process in silence."""
    # Stays, until a command has a handler of its own: the first process of a container dies of no signal by default.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))
    # At once: raised in the middle of an import, it would come out as a traceback, or as another error of a library's.
    # Stays, until a command has loaded what it needs: it calls `interruptible` then.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from streamproc.cli.main import main as run  # noqa: PLC0415  what takes its time

    run()


if __name__ == "__main__":
    main()
