"""How long a log in is valid (KIP-368), and whether it was one. aiokafka looks at neither.

A broker with `connections.max.reauth.ms` drops a connection whose session is over at the next request: what becomes of
a commit is unknown then. So a connection is given up in time, between two requests, and the next one logs in anew.
"""

import json
import time
from collections.abc import Awaitable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import SaslAuthenticationFailed

SASL_AUTHENTICATE = 36
USED = 0.8
"""Of a session, before its connection is given up at the next opportunity."""
NO_ERROR = 0

_connected = AIOKafkaConnection.connected


async def logged_in(connection: Any, answering: Awaitable[Any]) -> Any:
    """Return the answer to a log in, having noted until when it is valid; raises SaslAuthenticationFailed."""
    answer = await answering
    # A broker that refuses a token says so here, without an error code, and hangs up at the next request (RFC 7628).
    if connection._sasl_mechanism == "OAUTHBEARER" and answer.sasl_auth_bytes:  # noqa: SLF001
        raise SaslAuthenticationFailed(
            f"the broker does not accept the token ({_status(answer.sasl_auth_bytes)}): compare its issuer, audience, "
            "scope and end with what the broker expects; the broker's log says which"
        )
    lifetime_ms = getattr(answer, "session_lifetime_ms", 0)
    if answer.error_code == NO_ERROR and lifetime_ms > 0:
        connection.streamproc_session_ends = time.monotonic() + USED * lifetime_ms / 1000
    return answer


@wraps(_connected)
def connected(self: Any) -> bool:
    """Tell whether it can be used; one that is about to end, and on which nothing is under way, cannot."""
    ends = getattr(self, "streamproc_session_ends", None)
    if ends is not None and not self._requests and _connected(self) and time.monotonic() > ends:
        self.close(reason=CloseReason.IDLE_DROP)
    usable: bool = _connected(self)
    return usable


def _status(challenge: bytes) -> str:
    try:
        status = json.loads(challenge)["status"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return "no reason given"
    return status if isinstance(status, str) and status.isascii() and status.isidentifier() else "no reason given"
