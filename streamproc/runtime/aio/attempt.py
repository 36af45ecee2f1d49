"""An attempt to connect to a broker, as far as its failure is explained by it."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from pydantic import SecretStr

from streamproc.runtime.diagnosis import Diagnosis, Word


class NotKafka(ConnectionError):
    """What came is no answer of Kafka's; `head`: its first bytes. A ConnectionError: aiokafka logs others at length."""

    def __init__(self, head: bytes) -> None:
        super().__init__("what came is no answer of Kafka's")
        self.head = head


class AttemptStage(IntEnum):
    """How far an attempt had come: TCP and TLS, the versions, the log in, the first request."""

    CONNECTING, GREETING, LOGGING_IN, ASKING = range(4)


class Attempt(NamedTuple):
    """An attempt to connect: where, how, and how far it came.

    `secrets`: a diagnosis leaves them out of the broker's message. `offered`: the broker's SASL mechanisms, empty where
    it named none. `has_certificate`: whether we have a client certificate; `ended`: when it expired, if it has.
    `has_worked`: this address answered until a moment ago, so a broker that hangs up is probably stopping.
    """

    address: str
    stage: AttemptStage
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    user: str | None = None
    secrets: Sequence[SecretStr] = ()
    offered: Sequence[str] = ()
    has_certificate: bool = False
    ended: str | None = None
    has_worked: bool = False

    @property
    def by_tls(self) -> bool:
        """Whether TLS was tried."""
        return self.protocol.endswith("SSL")

    @property
    def with_login(self) -> bool:
        """Whether a log in was tried."""
        return self.protocol.startswith("SASL")

    def diagnosis(self, word: Word, sentence: str) -> Diagnosis:
        """Return a diagnosis of this attempt."""
        return Diagnosis(word, f"{self.address} {sentence}")
