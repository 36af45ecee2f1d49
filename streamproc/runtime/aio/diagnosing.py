"""The diagnosis of a failed attempt to connect. Pure: the error and the attempt go in, a diagnosis comes out.

It relies on how brokers and TLS behave: observed on Kafka 4.1 with OpenSSL 3, and tested by
tests/integration/test_refused_logins.py.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.errors import (
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from pydantic import SecretStr

from streamproc.escaping import escaped
from streamproc.runtime.aio.attempt import Attempt, AttemptStage, NotKafka
from streamproc.runtime.aio.tokens import NoToken
from streamproc.runtime.diagnosis import Diagnosis, Word

KAFKA = "STREAMPROC_KAFKA__"
SERVERS = f"{KAFKA}BOOTSTRAP_SERVERS"
WHERE = f"check {SERVERS}; if this address is not listed there, check the broker's advertised.listeners"
MAX_QUOTED = 300
"""Characters of the other side's message that a diagnosis quotes."""

EXPIRED = 10
OTHER_NAME = 62, 64
"""Results of OpenSSL's verification (x509_vfy.h): past its end, another host name or IP address."""
HTTP = b"HTTP", b"<!DO", b"<!do", b"<htm", b"<HTM"
TLS_ALERT = b"\x15\x03"
CERTIFICATE_ALERTS = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")
REFUSED = re.compile("refused|Connect call failed")
"""Searched for in the error's text: for a name with several addresses the error has no class of its own."""


def diagnose(error: BaseException, attempt: Attempt) -> Diagnosis:
    """Return the diagnosis. `error`: the exception that ended the attempt."""
    symptom = _symptom(error)
    return next(judge for kinds, judge in JUDGES if isinstance(symptom, kinds))(symptom, attempt)


def _symptom(error: BaseException) -> BaseException:
    """Return the cause of a closed connection where aiokafka reports nothing but that; else the error."""
    if type(error) is KafkaConnectionError:
        return error.__cause__ if isinstance(error.__cause__, OSError | EOFError) else ConnectionError()
    if isinstance(error, OSError) and REFUSED.search(str(error)):
        return ConnectionRefusedError()
    return error


def _server_certificate(error: ssl.SSLCertVerificationError, attempt: Attempt) -> Diagnosis:
    quoted = _quoted(error.verify_message)
    if error.verify_code == EXPIRED:
        return attempt.diagnosis(
            Word.SERVER_CERTIFICATE_EXPIRED,
            f"has an expired certificate ({quoted}): renew the broker's (ssl.keystore.location), or the authority's in "
            f"{KAFKA}SSL_CAFILE if it is that one; and check this machine's clock",
        )
    if error.verify_code in OTHER_NAME:
        return attempt.diagnosis(
            Word.HOST_NAME_MISMATCH,
            f"has a certificate for another host ({quoted}): write {SERVERS}, and the broker's advertised.listeners, "
            "by a name that is in its certificate, or have one made for this name",
        )
    return attempt.diagnosis(
        Word.SERVER_CERTIFICATE_UNTRUSTED,
        f"has a certificate that is not trusted ({quoted}): set {KAFKA}SSL_CAFILE to the certificate of the authority "
        "that signed the broker's",
    )


def _tls(error: ssl.SSLError, attempt: Attempt) -> Diagnosis:
    reason = (error.reason or str(error)).upper()
    quoted = _quoted(reason.replace("_", " ").lower())
    if "WRONG_VERSION_NUMBER" in reason:
        return _no_tls("does not speak TLS on this port", attempt)
    if "EOF" in reason:
        return _hang_up(error, attempt)
    if "CERTIFICATE_REQUIRED" in reason:
        return _certificate_missing(quoted, attempt)
    if CERTIFICATE_ALERTS.search(reason):
        return _client_certificate(quoted, attempt)
    missing = "" if attempt.has_certificate else f", or it asks for a client certificate ({KAFKA}SSL_CERTFILE)"
    return attempt.diagnosis(
        Word.TLS_FAILS, f"refuses TLS ({quoted}): it has no version or cipher of TLS that this machine has{missing}"
    )


def _certificate_missing(quoted: str, attempt: Attempt) -> Diagnosis:
    return attempt.diagnosis(
        Word.CLIENT_CERTIFICATE_MISSING,
        f"asks for a client certificate ({quoted}): set {KAFKA}SSL_CERTFILE and {KAFKA}SSL_KEYFILE to one of an "
        "authority that the broker trusts",
    )


def _client_certificate(quoted: str, attempt: Attempt) -> Diagnosis:
    if not attempt.has_certificate:
        return _certificate_missing(quoted, attempt)
    if attempt.ended is not None:
        return attempt.diagnosis(
            Word.CLIENT_CERTIFICATE_EXPIRED,
            f"does not accept the client certificate ({quoted}), which ended on {attempt.ended}: put a new one in "
            f"{KAFKA}SSL_CERTFILE and {KAFKA}SSL_KEYFILE",
        )
    return attempt.diagnosis(
        Word.CLIENT_CERTIFICATE_REFUSED,
        f"does not accept the client certificate ({quoted}): {KAFKA}SSL_CERTFILE must be of an authority in the "
        "broker's ssl.truststore.location, with the chain up to it, and neither revoked nor expired by the "
        "broker's clock",
    )


def _no_tls(seen: str, attempt: Attempt) -> Diagnosis:
    without = "SASL_PLAINTEXT" if attempt.with_login else "PLAINTEXT"
    return attempt.diagnosis(
        Word.NO_TLS,
        f"{seen}: {SERVERS} must name a port with TLS; if there is none, and unencrypted traffic is acceptable, set "
        f"{KAFKA}SECURITY_PROTOCOL={without}",
    )


def _other_protocol(error: NotKafka, attempt: Attempt) -> Diagnosis:
    if error.head.startswith(TLS_ALERT):
        wanted = "SASL_SSL" if attempt.with_login else "SSL"
        return attempt.diagnosis(
            Word.TLS_WANTED,
            f"asks for TLS on this port (it answers with a TLS alert): set {KAFKA}SECURITY_PROTOCOL={wanted}, it is "
            f"{attempt.protocol}, and {KAFKA}SSL_CAFILE",
        )
    what = "speaks HTTP" if error.head.startswith(HTTP) else "does not answer as Kafka does"
    return attempt.diagnosis(Word.NOT_A_BROKER, f"is not a Kafka broker, it {what}: {WHERE}")


def _unresolved(error: socket.gaierror, attempt: Attempt) -> Diagnosis:
    return attempt.diagnosis(Word.NAME_UNRESOLVED, f"cannot be resolved ({_quoted(error.strerror)}): {WHERE}")


def _silence(_: BaseException, attempt: Attempt) -> Diagnosis:
    if attempt.stage is AttemptStage.CONNECTING:
        what = "connection or TLS handshake" if attempt.by_tls else "connection"
        return attempt.diagnosis(
            Word.SILENT,
            f"does not answer the {what} attempt: the broker hangs, a firewall is between, or the address is wrong; "
            f"{WHERE}",
        )
    what = "login" if attempt.stage is AttemptStage.LOGGING_IN else "request"
    return attempt.diagnosis(
        Word.SILENT,
        f"accepts the connection, but does not answer the {what}: the broker hangs, or it is not Kafka; {WHERE}",
    )


def _mechanism(_: UnsupportedSaslMechanismError, attempt: Attempt) -> Diagnosis:
    offered = f"; it offers {_quoted(', '.join(attempt.offered))}" if attempt.offered else ""
    return attempt.diagnosis(
        Word.MECHANISM_OFF,
        f"does not accept login by {attempt.mechanism}{offered}: set {KAFKA}SASL_MECHANISM to one that it offers, or "
        "add this one to the broker's sasl.enabled.mechanisms",
    )


def _login_not_taken(_: IllegalSaslStateError, attempt: Attempt) -> Diagnosis:
    without = "SSL" if attempt.by_tls else "PLAINTEXT"
    return attempt.diagnosis(
        Word.LOGIN_NOT_TAKEN,
        f"does not accept a login on this port: {SERVERS} must name a port with SASL; if no login is wanted, set "
        f"{KAFKA}SECURITY_PROTOCOL={without}",
    )


def _login(error: BaseException, attempt: Attempt) -> Diagnosis:
    quoted = _quoted(next(iter(error.args), "") or type(error).__name__, attempt.secrets)
    who, what = "", f"{KAFKA}SASL_MECHANISM and where the token comes from"
    if attempt.user is not None:
        who, what = f" of user {_quoted(attempt.user)}", f"{KAFKA}SASL_USERNAME and {KAFKA}SASL_PASSWORD"
    return attempt.diagnosis(
        Word.LOGIN_REFUSED, f"refuses the login{who} by {attempt.mechanism} ({quoted}): check {what}"
    )


def _nobody(_: ConnectionRefusedError, attempt: Attempt) -> Diagnosis:
    return attempt.diagnosis(
        Word.NOTHING_LISTENS, f"refuses the connection: nothing listens on this port. Start Kafka, or {WHERE}"
    )


def _hang_up(_: BaseException, attempt: Attempt) -> Diagnosis:
    if attempt.has_worked:
        return attempt.diagnosis(Word.HUNG_UP, "closes the connection: it is stopping, or its log says why")
    if attempt.stage is AttemptStage.CONNECTING and attempt.by_tls:
        return _no_tls(
            "closes the connection during the TLS handshake, as a port does that does not speak TLS", attempt
        )
    if attempt.stage is AttemptStage.GREETING and attempt.by_tls:
        # TLS 1.3 sends the alert after the handshake, and a reset may overtake it.
        return _client_certificate("it closes the connection after the TLS handshake", attempt)
    if attempt.stage is AttemptStage.ASKING and not attempt.with_login:
        wanted = "SASL_SSL" if attempt.by_tls else "SASL_PLAINTEXT"
        return attempt.diagnosis(
            Word.LOGIN_WANTED,
            "closes the connection at the first request, as a port does that requires a login: set "
            f"{KAFKA}SECURITY_PROTOCOL={wanted}, it is {attempt.protocol}, with {KAFKA}SASL_MECHANISM, "
            f"{KAFKA}SASL_USERNAME and {KAFKA}SASL_PASSWORD",
        )
    if attempt.stage is AttemptStage.GREETING:
        return attempt.diagnosis(
            Word.HUNG_UP,
            "closes the connection without an answer: it is stopping, has reached its limit of connections, is a proxy "
            f"without a broker, requires TLS ({KAFKA}SECURITY_PROTOCOL), or is not Kafka; {WHERE}",
        )
    what = "during login" if attempt.stage is AttemptStage.LOGGING_IN else "at the first request"
    return attempt.diagnosis(Word.HUNG_UP, f"closes the connection {what}: it is stopping, or its log says why")


def _no_token(error: NoToken, attempt: Attempt) -> Diagnosis:
    return attempt.diagnosis(
        Word.NO_TOKEN, f"cannot be used: there is no token to log in with: {_quoted(error.args[0])}"
    )


def _out_of_reach(error: OSError, attempt: Attempt) -> Diagnosis:
    quoted = _quoted(error.strerror or error)
    return attempt.diagnosis(Word.OUT_OF_REACH, f"cannot be reached ({quoted}): check network and firewall; {WHERE}")


def _not_for_clients(_: IncompatibleBrokerVersion, attempt: Attempt) -> Diagnosis:
    return attempt.diagnosis(Word.NOT_A_BROKER, f"is not for clients, it may be a controller's port: {WHERE}")


def _odd(error: BaseException, attempt: Attempt) -> Diagnosis:
    if attempt.stage is AttemptStage.LOGGING_IN:
        quoted = _quoted(next(iter(error.args), "") or type(error).__name__, attempt.secrets)
        return attempt.diagnosis(
            Word.LOGIN_REFUSED,
            f"cannot be logged in to by {attempt.mechanism} ({quoted}): check {KAFKA}SASL_MECHANISM and what it needs",
        )
    return attempt.diagnosis(Word.NOT_A_BROKER, f"does not answer as Kafka does: {WHERE}")


JUDGES: tuple[
    tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any, Attempt], Diagnosis]], ...
] = (
    (ssl.SSLCertVerificationError, _server_certificate),
    (ssl.SSLError, _tls),
    (NotKafka, _other_protocol),
    (NoToken, _no_token),
    (socket.gaierror, _unresolved),
    ((TimeoutError, asyncio.CancelledError), _silence),
    (UnsupportedSaslMechanismError, _mechanism),
    (IllegalSaslStateError, _login_not_taken),
    (SaslAuthenticationFailed, _login),
    (ConnectionRefusedError, _nobody),
    ((EOFError, ConnectionError), _hang_up),
    (OSError, _out_of_reach),
    (IncompatibleBrokerVersion, _not_for_clients),
    (BaseException, _odd),
)
"""The first entry whose type matches the symptom makes the diagnosis."""


def _quoted(text: object, secrets: Iterable[SecretStr] = ()) -> str:
    """Quote the other side's message: cut, escaped, and without `secrets`, of which the longer ones come first."""
    bare = str(text)
    for secret in filter(None, (each.get_secret_value() for each in secrets)):
        bare = bare.replace(secret, "…")
    shown = escaped(bare)
    return shown if len(shown) <= MAX_QUOTED else f"{shown[:MAX_QUOTED]}…"
