"""What a broker refuses for want of a right, as the right that is lacking."""

from typing import Any

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from streamproc.runtime.denied import Denied
from streamproc.runtime.rights import Operation, Resource, Right

OF_TOPIC, OF_GROUP, OF_ID = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


def on_topic(operation: Operation, name: str) -> Right:
    """Return a right on a topic."""
    return Right(operation, Resource.TOPIC, name)


def on_group(operation: Operation, name: str) -> Right:
    """Return a right on a group."""
    return Right(operation, Resource.GROUP, name)


def on_id(group_id: str, name: str) -> Right:
    """Return the right to the transactional ids of an application, one of which is `name`."""
    return Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, f"{group_id}:", prefixed=True, asked=name)


def refuse(error: Any, *rights: Right) -> None:
    """Raise Denied where an error says that one of these rights is lacking, each on another kind of resource."""
    kinds = {Resource.TOPIC: OF_TOPIC, Resource.GROUP: OF_GROUP, Resource.TRANSACTIONAL_ID: OF_ID}
    for right in rights:
        if isinstance(error, kinds[right.resource]):
            raise Denied(right) from error
