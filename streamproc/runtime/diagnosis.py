"""Why no connection to a broker comes about: a word for it, and a sentence with what was seen and what to change."""

from typing import NamedTuple

from streamproc.vocabulary import Vocabulary


class Word(Vocabulary):
    """The causes; those that tell most of what has to be changed first."""

    NO_TOKEN = "NoToken", "There is no token to log in with."
    LOGIN_REFUSED = "LoginRefused", "The broker refuses the login: user, password or token."
    MECHANISM_OFF = "MechanismOff", "The broker does not accept `kafka.sasl_mechanism`."
    LOGIN_NOT_TAKEN = "LoginNotTaken", "The port does not accept a login: it is one without SASL."
    CLIENT_CERTIFICATE_EXPIRED = "ClientCertificateExpired", "Our own certificate has expired."
    CLIENT_CERTIFICATE_MISSING = (
        "ClientCertificateMissing",
        "The broker asks for a client certificate: set `kafka.ssl_certfile`.",
    )
    CLIENT_CERTIFICATE_REFUSED = "ClientCertificateRefused", "The broker does not accept our certificate."
    SERVER_CERTIFICATE_EXPIRED = "ServerCertificateExpired", "The broker's certificate has expired."
    SERVER_CERTIFICATE_UNTRUSTED = (
        "ServerCertificateUntrusted",
        "The broker's certificate is of no trusted authority: set `kafka.ssl_cafile`.",
    )
    HOST_NAME_MISMATCH = "HostNameMismatch", "The broker's certificate is for another host."
    TLS_WANTED = "TlsWanted", "The port asks for TLS: set `kafka.security_protocol`."
    NO_TLS = "NoTls", "The port does not speak TLS."
    TLS_FAILS = "TlsFails", "There is no version or cipher of TLS that both sides have."
    LOGIN_WANTED = "LoginWanted", "The port requires a login: set `kafka.security_protocol`."
    NOT_A_BROKER = "NotABroker", "What answers is not Kafka, or not for clients."
    NAME_UNRESOLVED = "NameUnresolved", "The host name cannot be resolved."
    HUNG_UP = "HungUp", "The broker closes the connection: it is stopping, or its log says why."
    SILENT = "Silent", "There is no answer: the broker hangs, or a firewall is between."
    NOTHING_LISTENS = "NothingListens", "Nothing listens on the port."
    OUT_OF_REACH = "OutOfReach", "The network does not lead there."


class Diagnosis(NamedTuple):
    """What keeps a connection from coming about. `message`: begins with the broker's address; never has a secret."""

    word: Word
    message: str
