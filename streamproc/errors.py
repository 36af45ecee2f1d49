"""Errors, named by what happens next, and why records are rejected. Below every other module but `vocabulary`.

Messages say where (topic, partition, offset, schema id) and what to do, never the payload.
"""

from collections.abc import Sequence

from streamproc.vocabulary import Vocabulary


class RejectionReason(Vocabulary):
    """Why a record is a dead letter: the header `streamproc.error.reason`, and the label of what counts them.

    TOO_LARGE is the runtime's and SKIPPED an operator's; all others are the codec's.
    """

    BAD_FRAMING = "bad_framing", "The value is neither JSON nor framed Avro."
    BAD_RUN_ID = "bad_run_id", "The run's id is missing, empty, too long, damaged, or neither a text nor a number."
    BAD_STATUS = "bad_status", "The run's status is missing, empty, too long, damaged, or neither a text nor a number."
    EMPTY_VALUE = "empty_value", "The record has no value."
    SKIPPED = "skipped", "An operator skipped it with `streamproc offsets skip`."
    TOO_COMPLEX = "too_complex", "The record has too many values."
    TOO_LARGE = "too_large", "It is larger than `kafka.max_record_bytes`."
    TRAILING_BYTES = "trailing_bytes", "Bytes follow after the end of the record."
    UNDECODABLE = "undecodable", "The bytes do not match their schema, or are not valid JSON."
    UNFIT_SCHEMA = "unfit_schema", "No record of this schema can be used: `streamproc schema check` says why."
    UNKNOWN_SCHEMA = (
        "unknown_schema",
        "Neither streamproc nor a registry knows the schema; or JSON is not accepted (`input.json`).",
    )
    UNKNOWN_STATUS = (
        "unknown_status",
        "The profile does not have the status, and `input.unknown_statuses` is `reject`.",
    )


class FormerReason(Vocabulary):
    """Why earlier releases rejected records: their dead letters, and limits set on them, are still there."""

    BAD_TEXT = "bad_text", "A text was not valid; now it is accepted, with the anomaly `text_damaged`."
    BAD_TIME = "bad_time", "A time could not be read; now it is null, with the anomaly `time_unreadable`."


KNOWN_REASONS = frozenset[str]({*RejectionReason, *FormerReason})
"""What a filter or a limit of dead letters may name."""


class StreamprocError(Exception):
    """Base of every error that streamproc raises on purpose."""


class ConfigError(StreamprocError):
    """Stop before starting, or stop for good: somebody has to change something. Exit code 1."""


class RecordRejected(StreamprocError):
    """One input record cannot be used: dead-letter it, count it, go on.

    The message is for people.
    """

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unfit(RecordRejected):
    """No record of this schema can be used, whatever is in it. `faults`: what is wrong with it, one by one."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(RejectionReason.UNFIT_SCHEMA, f"its schema cannot be used: {'; '.join(faults)}")
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
