"""Error codes of Kafka's for which aiokafka has no class: to it each of them is an UnknownError."""

from typing import Any

from aiokafka import errors
from aiokafka.errors import BrokerResponseError


class FencedLeaderEpochError(BrokerResponseError):
    """Another broker has become the leader; this one has not heard of it, or we have not."""

    errno, message = 74, "FENCED_LEADER_EPOCH"
    retriable = invalid_metadata = True


class UnknownLeaderEpochError(BrokerResponseError):
    """The broker lags behind what we have heard."""

    errno, message = 75, "UNKNOWN_LEADER_EPOCH"
    retriable = invalid_metadata = True


class OffsetNotAvailableError(BrokerResponseError):
    """A new leader does not know yet how far the partition goes."""

    errno, message = 78, "OFFSET_NOT_AVAILABLE"
    retriable = True


class GroupMaxSizeReachedError(BrokerResponseError):
    """The group has as many members as it may have."""

    errno, message = 81, "GROUP_MAX_SIZE_REACHED"


class FencedInstanceIdError(BrokerResponseError):
    """Another process has joined with this group instance id since."""

    errno, message = 82, "FENCED_INSTANCE_ID"


class InvalidRecordError(BrokerResponseError):
    """The broker does not admit a record."""

    errno, message = 87, "INVALID_RECORD"


class UnstableOffsetCommitError(BrokerResponseError):
    """A transaction that is not finished may still change the committed offset."""

    errno, message = 88, "UNSTABLE_OFFSET_COMMIT"
    retriable = True


class ThrottlingQuotaExceededError(BrokerResponseError):
    """The client asks more than it may."""

    errno, message = 89, "THROTTLING_QUOTA_EXCEEDED"
    retriable = True


class ProducerFencedError(BrokerResponseError):
    """There is a newer producer with this transactional id."""

    errno, message = 90, "PRODUCER_FENCED"


class UnknownTopicIdError(BrokerResponseError):
    """The topic was made anew."""

    errno, message = 100, "UNKNOWN_TOPIC_ID"
    retriable = invalid_metadata = True


class TransactionAbortableError(BrokerResponseError):
    """The transaction cannot be committed any more; the next one may be."""

    errno, message = 120, "TRANSACTION_ABORTABLE"


OURS: dict[int, Any] = {
    each.errno: each
    for each in (
        FencedLeaderEpochError,
        UnknownLeaderEpochError,
        OffsetNotAvailableError,
        GroupMaxSizeReachedError,
        FencedInstanceIdError,
        InvalidRecordError,
        UnstableOffsetCommitError,
        ThrottlingQuotaExceededError,
        ProducerFencedError,
        UnknownTopicIdError,
        TransactionAbortableError,
    )
}


class UnnamedError(BrokerResponseError):
    """An error code without a name in aiokafka or here."""

    message = "UNKNOWN"

    def __init__(self, code: int) -> None:
        super().__init__(f"error code {code}")
        self.errno = code


def error_of(code: int) -> Any:
    """Return the exception for an error code in a broker's answer, None for code 0."""
    if not code:
        return None
    kind = OURS.get(code) or errors.kafka_errors.get(code)
    return UnnamedError(code) if kind is None else kind()


def told(error: BaseException) -> str:
    """Return what to say of an error: its name, and its text if it has one; of a failed connection its message."""
    if hasattr(error, "word"):
        return str(error)
    text = str(next(iter(error.args), ""))
    return f"{name(error)}: {text}" if text else name(error)


def name(error: BaseException) -> str:
    """Return the name of an error in Kafka's documentation, or else that of its Python class."""
    return error.message if isinstance(error, BrokerResponseError) else type(error).__name__
