"""Logging in by a token, as aiokafka asks for one."""

import asyncio
from collections.abc import Sequence
from copy import copy
from typing import Self

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from streamproc.errors import StreamprocError
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import TOKENS

TOKEN_S = 2.0
"""For a token, of the time that an attempt to connect has."""
SHORTEST_PART = 16
"""Characters of a part of a token that tells something: others are words that a broker may say."""


class NoToken(KafkaConnectionError):
    """The connection did not come about for want of a token. A KafkaError: of others aiokafka's tasks end."""


class Provider(AbstractTokenProvider):
    """The process's tokens, for one client, and for each connection of its own: that has shown one of them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._source = TOKENS.of(settings)
        self._extensions = settings.oauth.extensions
        self._client_secret = settings.oauth.client_secret
        self._shown = ""

    def for_connection(self) -> Self:
        """Return one that knows what its connection has shown."""
        return copy(self)

    @property
    def secrets(self) -> Sequence[SecretStr]:
        """What nobody may see of what a broker says: the token and its parts, and what it was asked for with."""
        parts = (part for part in self._shown.split(".") if len(part) >= SHORTEST_PART)
        shown = map(SecretStr, dict.fromkeys((self._shown, *parts)))
        return (*shown, *([self._client_secret] if self._client_secret else []))

    async def token(self) -> str:
        """Return a token that is valid now; raises NoToken."""
        try:
            # Before the attempt to connect is given up, which would look like a broker that is silent.
            async with asyncio.timeout(TOKEN_S):
                self._shown = await self._source.token()
        except StreamprocError as error:
            raise NoToken(str(error)) from error
        except TimeoutError as error:
            raise NoToken(f"whoever gives tokens has not answered within {TOKEN_S:g} s") from error
        return self._shown

    def refused(self) -> None:
        """Take note that the broker did not accept what was shown."""
        if self._shown:
            self._source.refused(self._shown)

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions to be sent with it."""
        return self._extensions
