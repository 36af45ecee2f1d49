"""Errors, named by what happens next. Below every other module; imports nothing of streamproc.

Messages say where (topic, partition, offset, schema id) and what to do, never the payload.
"""


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


class RegistryUnavailable(StreamprocError):
    """The schema registry does not answer: pause the partition and retry. Never dead-letters."""


class TaskFenced(StreamprocError):
    """Somebody else may own the partition: drop the task unless the group still says it is ours."""


class TaskInvalid(StreamprocError):
    """The transaction failed or its outcome is unknown: rebuild the task from the last commit."""


class BrokerUnavailable(StreamprocError):
    """Kafka does not answer within the time allowed."""
