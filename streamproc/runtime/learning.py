"""What the runtime asks of a schema registry."""

from collections.abc import Sequence
from typing import Protocol


class Registry(Protocol):
    """Where schemas are asked for that the book does not know."""

    async def learn(self, headers: Sequence[bytes]) -> None:
        """Put into the book what the registry says of the schema behind the first framing header, a no as well.

        What it says of the others may come in later. Takes a bounded time. Raises RegistryUnavailable where it says
        nothing of the first.
        """
