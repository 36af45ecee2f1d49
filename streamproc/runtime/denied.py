"""That Kafka refuses something for want of a right."""

from collections.abc import Collection
from typing import Any

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.rights import Right, lacked


class Denied(BrokerUnavailable):
    """Kafka refuses what the user has no right to; once it is granted the same works, without a restart.

    `places`: the partitions of the outputs that a commit was refused for; nothing was written, it was given up.
    """

    def __init__(self, *rights: Right, places: Collection[Any] = ()) -> None:
        super().__init__(lacked(rights))
        self.rights, self.places = rights, frozenset(places)
