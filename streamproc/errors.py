"""Errors, named by what happens next. Below every other module; imports nothing of streamproc.

Messages say where (topic, partition, offset, schema id) and what to do, never the payload.
"""

from collections.abc import Sequence


class StreamprocError(Exception):
    """Base of every error that streamproc raises on purpose."""


class ConfigError(StreamprocError):
    """Stop before starting, or stop for good: somebody has to change something. Exit code 1."""


class RecordRejected(StreamprocError):
    """One input record cannot be used: dead-letter it, count it, go on.

    `reason` is one word of a closed set (a metric label), the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unfit(RecordRejected):
    """No record of this schema can be used, whatever is in it. `faults`: what is wrong with it, one by one."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("unfit_schema", f"its schema cannot be used: {'; '.join(faults)}")
        self.faults = tuple(faults)


class RegistryUnavailable(StreamprocError):
    """The schema registry does not answer: pause the partition and retry. Never dead-letters.

    `retry_after_s`: how long it asks to be left alone, at most a minute; None where it does not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TaskFenced(StreamprocError):
    """Somebody else may own the partition: drop the task unless the group still says it is ours."""


class TaskInvalid(StreamprocError):
    """The transaction failed or its outcome is unknown: rebuild the task from the last commit."""


class BrokerUnavailable(StreamprocError):
    """Kafka does not answer within the time allowed."""


class ConsoleUnavailable(StreamprocError):
    """A console that was asked does not answer, or not now: ask again."""


def name_of_cause(error: StreamprocError) -> str:
    """Return the word for why something failed: the library's error where it was one; `word` of a failed connection."""
    cause = error.__cause__ or error
    return str(getattr(cause, "word", type(cause).__name__))
