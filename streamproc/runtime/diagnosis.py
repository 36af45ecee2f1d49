"""Why no connection to a broker comes about: a word for it, and a sentence with what was seen and what to change."""

from enum import StrEnum
from typing import NamedTuple


class Word(StrEnum):
    """The causes; those that tell most of what has to be changed first."""

    NO_TOKEN = "NoToken"  # noqa: S105  a word for its absence
    LOGIN_REFUSED = "LoginRefused"
    MECHANISM_OFF = "MechanismOff"
    LOGIN_NOT_TAKEN = "LoginNotTaken"
    CLIENT_CERTIFICATE_EXPIRED = "ClientCertificateExpired"
    CLIENT_CERTIFICATE_MISSING = "ClientCertificateMissing"
    CLIENT_CERTIFICATE_REFUSED = "ClientCertificateRefused"
    SERVER_CERTIFICATE_EXPIRED = "ServerCertificateExpired"
    SERVER_CERTIFICATE_UNTRUSTED = "ServerCertificateUntrusted"
    HOST_NAME_MISMATCH = "HostNameMismatch"
    TLS_WANTED = "TlsWanted"
    NO_TLS = "NoTls"
    TLS_FAILS = "TlsFails"
    LOGIN_WANTED = "LoginWanted"
    NOT_A_BROKER = "NotABroker"
    NAME_UNRESOLVED = "NameUnresolved"
    HUNG_UP = "HungUp"
    SILENT = "Silent"
    NOTHING_LISTENS = "NothingListens"
    OUT_OF_REACH = "OutOfReach"


class Diagnosis(NamedTuple):
    """What keeps a connection from coming about. `message`: begins with the broker's address; never has a secret."""

    word: Word
    message: str
