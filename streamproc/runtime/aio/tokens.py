"""Logging in by a token, as aiokafka asks for one."""

import asyncio

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from streamproc.errors import StreamprocError
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import TOKENS

TOKEN_S = 2.0
"""For a token, of the time that an attempt to connect has."""


class NoToken(KafkaConnectionError):
    """The connection did not come about for want of a token. A KafkaError: of others aiokafka's tasks end."""


class Provider(AbstractTokenProvider):
    """The process's tokens, for one client."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._source = TOKENS.of(settings)
        self._extensions = settings.oauth.extensions

    async def token(self) -> str:
        """Return a token that is valid now; raises NoToken."""
        try:
            # Before the attempt to connect is given up, which would look like a broker that is silent.
            async with asyncio.timeout(TOKEN_S):
                return await self._source.token()
        except StreamprocError as error:
            raise NoToken(str(error)) from error
        except TimeoutError as error:
            raise NoToken(f"whoever gives tokens has not answered within {TOKEN_S:g} s") from error

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions to be sent with it."""
        return self._extensions
