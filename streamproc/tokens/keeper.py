"""One token for a whole process, renewed in the background before it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from random import uniform

import structlog

from streamproc.backoff import Backoff
from streamproc.errors import ConfigError
from streamproc.runtime.tokens import TokenUnavailable

RENEWED_AT = 0.75, 0.85
"""After which part of its life a token is renewed: somewhere in between, so that instances do not ask together."""
SHORTEST_S = 1.0
"""Between two requests, however short a token's life is."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""A token is renewed while the last one is still good for a while: there is time."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A token and how long it is valid from now on. Shows itself to nobody."""

    value: str = field(repr=False)
    life_s: float


class TokenKeeper:
    """Holds the last token; asks for the first one when somebody wants it."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Token]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take what gives a new token, which raises TokenUnavailable and ConfigError."""
        self._fetch, self._clock, self._sleep = fetch, clock, sleep
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        self._value, self._ends = "", clock()
        self._trouble: TokenUnavailable | ConfigError | None = None
        self._attempt: asyncio.Task[float] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """Return a token that is valid now.

        Raises TokenUnavailable and ConfigError: as the last attempt did, where the next one has to wait.
        """
        if self._keeping is None or self._keeping.done():
            self._trouble, self._attempt = None, asyncio.create_task(self._renew())
            self._keeping = asyncio.create_task(self._keep(self._attempt))
        if not self._is_valid() and self._attempt is not None:
            # Whoever asked may give up; the others still want it.
            await asyncio.shield(self._attempt)
        if self._is_valid():
            return self._value
        raise copy(self._trouble) if self._trouble else TokenUnavailable("the tokens end as soon as they are given")

    def _is_valid(self) -> bool:
        return self._clock() < self._ends

    async def _keep(self, attempt: asyncio.Task[float]) -> None:
        while True:
            wait_s = await attempt
            self._attempt = None
            await self._sleep(wait_s)
            attempt = self._attempt = asyncio.create_task(self._renew())

    async def _renew(self) -> float:
        """Ask for a new token; return how long to wait before the next time."""
        began = self._clock()  # Its life begins somewhere in between, so count from here.
        try:
            token = await self._fetch()
        except (TokenUnavailable, ConfigError) as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001  the renewal must not end; the text may hold a secret
            return self._failed(TokenUnavailable(f"asking for a token fails: {type(error).__name__}"))
        self._value, self._ends, self._trouble = token.value, began + token.life_s, None
        failures = self._backoff.succeeded()
        log.info("token for Kafka", valid_s=round(token.life_s), failures_before=failures)
        return max(SHORTEST_S, token.life_s * uniform(*RENEWED_AT))  # noqa: S311  spreads load, keeps no secret

    def _failed(self, error: TokenUnavailable | ConfigError) -> float:
        self._trouble = error
        wait_s = max(self._backoff.failed(), (isinstance(error, TokenUnavailable) and error.retry_after_s) or 0)
        left_s = round(max(0.0, self._ends - self._clock()), 1)
        log.warning("no new token for Kafka", why=str(error), old_valid_s=left_s, again_in_s=round(wait_s, 1))
        return wait_s
