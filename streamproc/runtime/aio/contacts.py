"""How it went with each broker's address at the last attempt to connect, whichever client made it.

aiokafka logs why a connection did not come about, and tells its caller nothing. So every attempt of the process passes
here, and whoever gets no answer from Kafka asks here why.
"""

import asyncio
import logging
import ssl
import time
import weakref
from collections.abc import Awaitable, Callable, Collection
from functools import partial, wraps
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NodeNotReadyError, SaslAuthenticationFailed
from pydantic import SecretStr

from streamproc.runtime.aio.attempt import Attempt, AttemptStage, NotKafka
from streamproc.runtime.aio.certificates import ended
from streamproc.runtime.aio.diagnosing import diagnose
from streamproc.runtime.aio.tokens import Provider
from streamproc.runtime.diagnosis import Diagnosis, Word

FRESH_S = 60.0
"""So long a failed attempt counts: an address that is of use is tried again every few seconds."""
STOPPING_S = 5.0
"""So long after its first failure a broker that worked may be stopping."""
SILENT_S = 1.0
"""An attempt that is given up after that time was one without an answer."""
MOST_GREETING_BYTES = 1 << 20
"""Of the answer to the first request; what another protocol answers looks like hundreds of megabytes."""
MOST_BYTES = (1 << 31) - 1
METADATA, SASL_HANDSHAKE = 3, 17
FAILURES = KafkaError, OSError, EOFError, ValueError, LookupError, AssertionError
NO_ADDRESS = UnicodeError, OverflowError
"""Of a host or a port that cannot be one."""

log = logging.getLogger("aiokafka")  # With its lines: they are throttled.
_connect = AIOKafkaConnection.connect

CERTIFICATES: weakref.WeakKeyDictionary[ssl.SSLContext, bytes] = weakref.WeakKeyDictionary()
"""The client certificate of each context that has one, in PEM."""


class Unreachable(NodeNotReadyError):
    """A connection did not come about: nothing was sent. `word`: the cause."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.message)
        self.word = diagnosis.word

    def __str__(self) -> str:
        """Return the diagnosis alone."""
        return str(self.args[0])

    __repr__ = __str__


class _FailedAttempts(NamedTuple):
    """The first attempt that failed, the latest one, and what that came to."""

    since: float
    latest: float
    diagnosis: Diagnosis


class Contacts:
    """The last failed attempt at each address that has not answered since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: monotonic, in seconds."""
        self._clock = clock
        self._failed: dict[str, _FailedAttempts] = {}
        self._worked: set[tuple[str, str]] = set()

    def failed(self, address: str, diagnosis: Diagnosis) -> None:
        """Take note, and say so."""
        now, before = self._clock(), self._failed.get(address)
        since = before.since if before is not None and before.latest >= now - FRESH_S else now
        self._failed[address] = _FailedAttempts(since, now, diagnosis)
        log.warning(diagnosis.message)

    def answered(self, address: str, protocol: str) -> None:
        """Take note that a broker answers there, by that security protocol."""
        self._failed.pop(address, None)
        self._worked.add((address, protocol))

    def has_worked(self, address: str, protocol: str) -> bool:
        """Return whether a broker answered there by that security protocol until a moment ago."""
        now, failed = self._clock(), self._failed.get(address)
        return (address, protocol) in self._worked and (failed is None or now - failed.since < STOPPING_S)

    def trouble(self, addresses: Collection[str] | None = None) -> Diagnosis | None:
        """Return what is the matter at these addresses, or at all; None where nothing is known of.

        The message has a sentence for each cause, the word is that of the first.
        """
        since = self._clock() - FRESH_S
        by_word: dict[Word, str] = {}
        for address, failed in self._failed.items():
            if failed.latest >= since and (addresses is None or address in addresses):
                by_word[failed.diagnosis.word] = failed.diagnosis.message
        words = [word for word in Word if word in by_word]
        return Diagnosis(words[0], "; ".join(by_word[word] for word in words)) if words else None


CONTACTS = Contacts()
"""Of this process."""


def address_of(host: str, port: int) -> str:
    """Return an address as it is written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def trouble_at(servers: str) -> Diagnosis | None:
    """Return what is the matter at bootstrap servers, None where nothing is known of."""
    return CONTACTS.trouble({address_of(host, port) for host, port, _ in collect_hosts(servers)})


@wraps(_connect)
async def connect(self: Any) -> Any:
    """Connect, in the place of aiokafka's own method; raises Unreachable with the reason, which it takes note of."""
    began = time.monotonic()
    try:
        connected = await _connect(self)
        if METADATA not in self._versions:
            self.close()
            raise IncompatibleBrokerVersion
    except NO_ADDRESS:
        raise
    except asyncio.CancelledError as error:
        if time.monotonic() - began >= SILENT_S:
            _failed(self, error)
        raise
    except FAILURES as error:
        raise Unreachable(_failed(self, error)) from error
    self.streamproc_unproven = True  # Until a request is answered that is not of the log in.
    return connected


def read_in_task(self: Any) -> Any:
    """Begin to read answers, in the place of aiokafka's own method."""
    reference = weakref.ref(self)  # Whoever lets go of a connection need not close it.
    task = asyncio.create_task(_answers(reference))
    task.add_done_callback(partial(self._on_read_task_error, reference))
    return task


async def _answers(reference: Any) -> None:
    """Read answers; raises what ends it, having taken note of it."""
    try:
        await _read(reference)
    except (OSError, EOFError) as error:
        connection = reference()
        if connection is not None and connection._requests and _is_unproven(connection):  # noqa: SLF001
            _failed(connection, error)
        raise


async def _read(reference: Any) -> None:
    """Take one answer after another; a first one that is none of Kafka's is not waited for to its end."""
    connection = reference()
    if connection is None:
        return
    reader, most = connection._reader, MOST_GREETING_BYTES  # noqa: SLF001
    del connection
    while True:
        head = await reader.readexactly(4)
        size = int.from_bytes(head, "big", signed=True)
        if not 0 <= size <= most:
            raise NotKafka(head)
        answer = await reader.readexactly(size)
        connection, most = reference(), MOST_BYTES
        if connection is None:
            return
        connection._handle_frame(answer)  # noqa: SLF001
        if _is_unproven(connection):
            connection.streamproc_unproven = False
            CONTACTS.answered(address_of(connection.host, connection.port), connection._security_protocol)  # noqa: SLF001
        del connection


async def offered(connection: Any, answering: Awaitable[Any]) -> Any:
    """Return the answer to the beginning of a log in, having noted which mechanisms there are."""
    answer = await answering
    connection.streamproc_offered = tuple(answer.enabled_mechanisms)
    return answer


def _failed(connection: Any, error: BaseException) -> Diagnosis:
    attempt = _attempt(connection)
    diagnosis = diagnose(error, attempt)
    CONTACTS.failed(attempt.address, diagnosis)
    provider = _provider(connection)
    if provider is not None and isinstance(error, SaslAuthenticationFailed):
        provider.refused()
    return diagnosis


def _provider(connection: Any) -> Provider | None:
    """Return where a connection's token came from, None where it logs in by none."""
    provider = connection._sasl_oauth_token_provider  # noqa: SLF001
    return provider if isinstance(provider, Provider) else None


def _attempt(connection: Any) -> Attempt:
    """Return what a connection was made with."""
    context = connection._ssl_context  # noqa: SLF001
    certificate = None if context is None else CERTIFICATES.get(context)
    provider = _provider(connection)
    address, protocol = address_of(connection.host, connection.port), connection._security_protocol  # noqa: SLF001
    return Attempt(
        address,
        _stage(connection),
        protocol,
        connection._sasl_mechanism,  # noqa: SLF001
        connection._sasl_plain_username,  # noqa: SLF001
        (SecretStr(connection._sasl_plain_password or ""), *(provider.secrets if provider else ())),  # noqa: SLF001
        getattr(connection, "streamproc_offered", ()),
        certificate is not None,
        None if certificate is None else ended(certificate),
        CONTACTS.has_worked(address, protocol),
    )


def _is_unproven(connection: Any) -> bool:
    return getattr(connection, "streamproc_unproven", False)


def _stage(connection: Any) -> AttemptStage:
    if connection._protocol is None:  # noqa: SLF001
        return AttemptStage.CONNECTING
    if _is_unproven(connection):
        return AttemptStage.ASKING
    return AttemptStage.LOGGING_IN if connection._versions else AttemptStage.GREETING  # noqa: SLF001
