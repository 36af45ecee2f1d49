"""The tokens that log in to Kafka: what the runtime asks for them. Where they come from, the process says once."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from streamproc.awaiting import set_within
from streamproc.backoff import Backoff
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.interrupts import Interrupted, unless_stopped
from streamproc.runtime.config import KafkaSettings

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
"""At the start: who serves tokens also serves others, and counts those that ask too often."""


class TokenUnavailable(BrokerUnavailable):
    """There is no token now, so nobody can log in to Kafka: ask again.

    `retry_after_s`: how long whoever gives them asks to be left alone; None where it does not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TokenSource(Protocol):
    """Gives tokens, to all connections of the process."""

    async def token(self) -> str:
        """Return one that is valid now; raises TokenUnavailable, ConfigError where it cannot come by itself."""

    def refused(self, token: str) -> None:
        """Hear that a broker does not accept a token which was given before."""


class Tokens:
    """The sources of a process, one for each way to log in."""

    def __init__(self) -> None:
        self._make: Callable[[KafkaSettings], TokenSource] | None = None
        self._made: list[tuple[KafkaSettings, TokenSource]] = []

    def come_from(self, make: Callable[[KafkaSettings], TokenSource]) -> None:
        """Have sources made so from now on."""
        self._make = make
        self._made.clear()

    def of(self, settings: KafkaSettings) -> TokenSource:
        """Return the source for these settings, the same one for all who ask; raises ConfigError."""
        for known, source in self._made:
            if known == settings:
                return source
        if self._make is None:
            raise ConfigError(f"nothing in this process gives tokens for sasl_mechanism {settings.sasl_mechanism}")
        self._made.append((settings, self._make(settings)))
        return self._made[-1][1]


TOKENS = Tokens()


async def can_log_in(settings: KafkaSettings, blocked: Callable[[str], None], stop: asyncio.Event) -> bool:
    """Wait until there is a token, where one is needed; False where `stop` was set before.

    `blocked` is told why it takes so long, and when it does no longer. Raises ConfigError where there will be none.
    """
    if not settings.by_token:
        return not stop.is_set()
    source, backoff = TOKENS.of(settings), Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
    while not stop.is_set():
        try:
            # An endpoint that hangs may take longer than a stop has time.
            await unless_stopped(stop, source.token(), "there was a token")
        except Interrupted:
            break
        except TokenUnavailable as error:
            blocked(f"waiting for a token to log in to Kafka: {error}")
            await set_within(stop, backoff.failed())
        else:
            blocked("")
            return True
    return False
