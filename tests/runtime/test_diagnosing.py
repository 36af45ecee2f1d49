"""What an attempt to connect ended with → what is the matter, and what to change; and who remembers it."""

import asyncio
import logging
import socket
import ssl
from pathlib import Path

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from pydantic import SecretStr

from streamproc.errors import BrokerUnavailable, name_of_cause
from streamproc.runtime.aio.attempt import Attempt, AttemptStage, NotKafka
from streamproc.runtime.aio.certificates import ended
from streamproc.runtime.aio.contacts import FRESH_S, STOPPING_S, Contacts, Unreachable, address_of
from streamproc.runtime.aio.diagnosing import MAX_QUOTED, diagnose
from streamproc.runtime.aio.tokens import NoToken, Provider
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.diagnosis import Diagnosis, Word
from streamproc.runtime.tokens import Tokens
from tests.support.certificates import Authority

ADDRESS = "kafka:9093"
PASSWORD = "not-to-be-shown"
LOGIN = {"mechanism": "PLAIN", "user": "worker", "secrets": (SecretStr(PASSWORD),)}
CONNECTING, GREETING, LOGGING_IN, ASKING = AttemptStage
TLS, SASL, SASL_TLS = "SSL", "SASL_PLAINTEXT", "SASL_SSL"


def attempt(stage: AttemptStage, protocol: str = "PLAINTEXT", **more: object) -> Attempt:
    """Return an attempt as a client makes it."""
    login = LOGIN if protocol.startswith("SASL") else {}
    return Attempt(ADDRESS, stage, protocol, **{**login, **more})  # type: ignore[arg-type]


def tls(reason: str) -> ssl.SSLError:
    """Return what Python raises for a reason of OpenSSL's."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:2580)")
    error.reason = reason
    return error


def certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    """Return what Python raises for a server's certificate."""
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {message}")
    error.verify_code, error.verify_message, error.reason = code, message, "CERTIFICATE_VERIFY_FAILED"
    return error


def closed(why: BaseException | None) -> KafkaConnectionError:
    """Return what aiokafka raises for requests on a connection that ended."""
    error = KafkaConnectionError(f"Connection at {ADDRESS} closed")
    error.__cause__ = why
    return error


EOF = asyncio.IncompleteReadError(b"", 4)
UNKNOWN = "SSLV3_ALERT_CERTIFICATE_UNKNOWN"
OF_OURS = {"has_certificate": True}
OVER = {**OF_OURS, "ended": "Nov 30 12:00:00 2026 GMT"}

CASES: list[tuple[BaseException, Attempt, Word, list[str]]] = [
    (
        SaslAuthenticationFailed("Authentication failed: Invalid username or password"),
        attempt(LOGGING_IN, SASL),
        Word.LOGIN_REFUSED,
        ["user worker by PLAIN (Authentication failed: Invalid", "KAFKA__SASL_USERNAME", "KAFKA__SASL_PASSWORD"],
    ),
    (
        SaslAuthenticationFailed("the token is over"),
        attempt(LOGGING_IN, SASL, mechanism="OAUTHBEARER", user=None, secrets=()),
        Word.LOGIN_REFUSED,
        ["login by OAUTHBEARER (the token is over)", "where the token comes from"],
    ),
    (
        NoToken("the endpoint gives no token"),
        attempt(LOGGING_IN, SASL, mechanism="OAUTHBEARER", user=None, secrets=()),
        Word.NO_TOKEN,
        ["cannot be used: there is no token to log in with: the endpoint gives no token"],
    ),
    (
        ValueError("Server sent wrong signature!"),
        attempt(LOGGING_IN, SASL),
        Word.LOGIN_REFUSED,
        ["(Server sent wrong signature!)"],
    ),
    (
        UnsupportedSaslMechanismError("a connection"),
        attempt(LOGGING_IN, SASL, offered=("SCRAM-SHA-512", "GSSAPI")),
        Word.MECHANISM_OFF,
        ["by PLAIN; it offers SCRAM-SHA-512, GSSAPI: ", "KAFKA__SASL_MECHANISM"],
    ),
    (IllegalSaslStateError(), attempt(LOGGING_IN, SASL), Word.LOGIN_NOT_TAKEN, ["KAFKA__SECURITY_PROTOCOL=PLAINTEXT"]),
    (IllegalSaslStateError(), attempt(LOGGING_IN, SASL_TLS), Word.LOGIN_NOT_TAKEN, ["KAFKA__SECURITY_PROTOCOL=SSL"]),
    (closed(EOF), attempt(LOGGING_IN, SASL), Word.HUNG_UP, ["closes the connection during login"]),
    (closed(None), attempt(LOGGING_IN, SASL), Word.HUNG_UP, ["closes the connection during login"]),
    (
        certificate(20, "unable to get local issuer certificate"),
        attempt(CONNECTING, TLS),
        Word.SERVER_CERTIFICATE_UNTRUSTED,
        ["(unable to get local issuer certificate)", "KAFKA__SSL_CAFILE"],
    ),
    (
        certificate(62, "Hostname mismatch, certificate is not valid for 'kafka'."),
        attempt(CONNECTING, TLS),
        Word.HOST_NAME_MISMATCH,
        ["not valid for 'kafka'", "KAFKA__BOOTSTRAP_SERVERS", "advertised.listeners"],
    ),
    (certificate(64, "IP address mismatch"), attempt(CONNECTING, TLS), Word.HOST_NAME_MISMATCH, ["IP address"]),
    (
        certificate(10, "certificate has expired"),
        attempt(CONNECTING, TLS),
        Word.SERVER_CERTIFICATE_EXPIRED,
        ["(certificate has expired)", "renew the broker's"],
    ),
    (
        closed(tls("TLSV13_ALERT_CERTIFICATE_REQUIRED")),
        attempt(GREETING, TLS),
        Word.CLIENT_CERTIFICATE_MISSING,
        ["(tlsv13 alert certificate required)", "KAFKA__SSL_CERTFILE", "KAFKA__SSL_KEYFILE"],
    ),
    (closed(ConnectionResetError()), attempt(GREETING, TLS), Word.CLIENT_CERTIFICATE_MISSING, ["KAFKA__SSL_CERTFILE"]),
    (tls("SSLV3_ALERT_BAD_CERTIFICATE"), attempt(CONNECTING, TLS), Word.CLIENT_CERTIFICATE_MISSING, ["KAFKA__SSL_KEY"]),
    (
        closed(tls(UNKNOWN)),
        attempt(GREETING, TLS, **OVER),
        Word.CLIENT_CERTIFICATE_EXPIRED,
        ["(sslv3 alert certificate unknown), which ended on Nov 30 12:00:00 2026 GMT", "KAFKA__SSL_CERTFILE"],
    ),
    (
        closed(tls(UNKNOWN)),
        attempt(GREETING, TLS, **OF_OURS),
        Word.CLIENT_CERTIFICATE_REFUSED,
        ["(sslv3 alert certificate unknown)", "KAFKA__SSL_CERTFILE", "ssl.truststore.location"],
    ),
    (tls("TLSV1_ALERT_UNKNOWN_CA"), attempt(CONNECTING, TLS, **OF_OURS), Word.CLIENT_CERTIFICATE_REFUSED, []),
    (
        tls("SSLV3_ALERT_HANDSHAKE_FAILURE"),
        attempt(CONNECTING, TLS),
        Word.TLS_FAILS,
        ["(sslv3 alert handshake failure)", "version or cipher", "KAFKA__SSL_CERTFILE"],
    ),
    (tls("WRONG_VERSION_NUMBER"), attempt(CONNECTING, TLS), Word.NO_TLS, ["KAFKA__SECURITY_PROTOCOL=PLAINTEXT"]),
    (ConnectionResetError(), attempt(CONNECTING, SASL_TLS), Word.NO_TLS, ["SECURITY_PROTOCOL=SASL_PLAINTEXT"]),
    (tls("UNEXPECTED_EOF_WHILE_READING"), attempt(CONNECTING, TLS), Word.NO_TLS, ["KAFKA__BOOTSTRAP_SERVERS"]),
    (ConnectionResetError(), attempt(CONNECTING, TLS, has_worked=True), Word.HUNG_UP, ["it is stopping"]),
    (EOF, attempt(ASKING, has_worked=True), Word.HUNG_UP, ["it is stopping"]),
    (closed(EOF), attempt(ASKING), Word.LOGIN_WANTED, ["SECURITY_PROTOCOL=SASL_PLAINTEXT, it is PLAINTEXT"]),
    (EOF, attempt(ASKING, TLS), Word.LOGIN_WANTED, ["=SASL_SSL, it is SSL", "KAFKA__SASL_MECHANISM"]),
    (EOF, attempt(ASKING, SASL), Word.HUNG_UP, ["at the first request"]),
    (closed(NotKafka(b"\x15\x03\x03\0")), attempt(GREETING), Word.TLS_WANTED, ["SECURITY_PROTOCOL=SSL, it is PLAIN"]),
    (closed(NotKafka(b"\x15\x03\x01\0")), attempt(GREETING, SASL), Word.TLS_WANTED, ["SECURITY_PROTOCOL=SASL_SSL"]),
    (closed(NotKafka(b"HTTP")), attempt(GREETING), Word.NOT_A_BROKER, ["speaks HTTP", "KAFKA__BOOTSTRAP_SERVERS"]),
    (closed(NotKafka(b"<!DO")), attempt(GREETING), Word.NOT_A_BROKER, ["speaks HTTP"]),
    (closed(NotKafka(b"SSH-")), attempt(GREETING), Word.NOT_A_BROKER, ["does not answer as Kafka does"]),
    (ValueError("unpack requires"), attempt(GREETING), Word.NOT_A_BROKER, ["does not answer as Kafka does"]),
    (IncompatibleBrokerVersion(), attempt(GREETING), Word.NOT_A_BROKER, ["a controller's port"]),
    (
        closed(EOF),
        attempt(GREETING),
        Word.HUNG_UP,
        ["closes the connection without an answer", "KAFKA__SECURITY_PROTOCOL"],
    ),
    (ConnectionRefusedError(111, "Connection refused"), attempt(CONNECTING), Word.NOTHING_LISTENS, ["Start Kafka"]),
    (OSError("Multiple exceptions: [Errno 111] Connect call failed"), attempt(CONNECTING), Word.NOTHING_LISTENS, []),
    (
        socket.gaierror(-2, "Name or service not known"),
        attempt(CONNECTING),
        Word.NAME_UNRESOLVED,
        ["(Name or service not known)", "KAFKA__BOOTSTRAP_SERVERS"],
    ),
    (OSError(113, "No route to host"), attempt(CONNECTING), Word.OUT_OF_REACH, ["(No route to host)", "firewall"]),
    (
        TimeoutError(),
        attempt(CONNECTING),
        Word.SILENT,
        ["does not answer the connection attempt: ", "KAFKA__BOOTSTRAP_SERVERS"],
    ),
    (
        TimeoutError(),
        attempt(CONNECTING, TLS),
        Word.SILENT,
        ["does not answer the connection or TLS handshake attempt: "],
    ),
    (
        asyncio.CancelledError(),
        attempt(GREETING),
        Word.SILENT,
        ["accepts the connection, but does not answer the request"],
    ),
    (TimeoutError(), attempt(LOGGING_IN, SASL), Word.SILENT, ["accepts the connection, but does not answer the login"]),
]


@pytest.mark.parametrize(
    ("error", "tried", "word", "parts"), CASES, ids=[f"{word} {type(error).__name__}" for error, _, word, _ in CASES]
)
def test_each_case_has_its_word_what_was_said_and_the_setting(
    error: BaseException, tried: Attempt, word: Word, parts: list[str]
) -> None:
    """Of an attempt: how far it came and by what it was made; the address goes first."""
    found = diagnose(error, tried)
    assert found.word is word
    assert found.message.startswith(f"{ADDRESS} ")
    assert [part for part in parts if part not in found.message] == []


def test_every_word_has_a_case() -> None:
    """Whoever adds one adds the case."""
    assert {word for _, _, word, _ in CASES} == set(Word)


def test_every_word_is_in_the_runbook() -> None:
    """With what to change: it is what an operator has in hand."""
    page = (Path(__file__).parents[2] / "deploy/runbooks/StreamprocNoTaskRunning.md").read_text()
    assert [word for word in Word if f"`{word}`" not in page] == []


def test_what_the_broker_says_shows_no_secret_and_steers_no_terminal() -> None:
    """It was sent the password, so it may send it back; and whatever else, without end."""
    said = f"no {PASSWORD}\x1b[2J\nforged" + "x" * 2 * MAX_QUOTED
    tried = attempt(LOGGING_IN, SASL)
    found = diagnose(SaslAuthenticationFailed(said), tried)
    assert PASSWORD not in found.message + repr(tried)
    assert found.message.isprintable()
    assert len(found.message) < 2 * MAX_QUOTED


def test_a_token_and_its_parts_are_left_out_of_what_the_broker_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the client's secret, which a broker may be told by whoever checks tokens for it."""
    token = f"{'head' * 5}.{'claims' * 5}.{'signature' * 5}"

    class Gives:
        async def token(self) -> str:
            return token

    monkeypatch.setattr("streamproc.runtime.aio.tokens.TOKENS", tokens := Tokens())
    tokens.come_from(lambda _: Gives())  # type: ignore[arg-type, return-value]
    oauth = {"token_url": "https://issuer/token", "client_id": "me", "client_secret": PASSWORD}
    login = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "oauth": oauth}
    provider = Provider(KafkaSettings(**login))  # type: ignore[arg-type]
    asyncio.run(provider.token())
    said = f"invalid_token {token}, {token.rpartition('.')[2]} is no signature of {PASSWORD}"
    tried = attempt(LOGGING_IN, SASL, mechanism="OAUTHBEARER", user=None, secrets=provider.secrets)
    found = diagnose(SaslAuthenticationFailed(said), tried)
    assert "(invalid_token …, … is no signature of …)" in found.message
    assert "signature" * 5 not in repr(tried)


def test_when_a_certificate_ended_is_read_from_it(tmp_path: Path) -> None:
    """A broker of Kafka says the same of one that is past its end and of one that it does not know."""
    authority = Authority(tmp_path)
    over = ended(Path(authority.issue("over", hours=-1).cert_file).read_bytes())
    assert over is not None
    assert over.endswith("GMT")
    assert ended(Path(authority.issue("valid").cert_file).read_bytes()) is None
    assert ended(b"damaged") is None


class Bench:
    """A memory with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.contacts = Contacts(lambda: self.now)

    def fails(self, address: str, word: Word) -> None:
        """Have an attempt fail."""
        self.contacts.failed(address, Diagnosis(word, f"{address} {word}"))


@pytest.fixture
def bench() -> Bench:
    """Nothing tried yet."""
    return Bench()


def test_the_last_failure_counts_until_the_address_answers(bench: Bench) -> None:
    """Whichever client made the attempt."""
    assert bench.contacts.trouble() is None
    bench.fails("a:1", Word.NOTHING_LISTENS)
    bench.fails("a:1", Word.LOGIN_REFUSED)
    assert bench.contacts.trouble() == (Word.LOGIN_REFUSED, "a:1 LoginRefused")
    bench.contacts.answered("b:2", TLS)
    assert bench.contacts.trouble() is not None
    bench.contacts.answered("a:1", TLS)
    assert bench.contacts.trouble() is None


def test_a_broker_that_worked_until_a_moment_ago_is_taken_for_one_that_stops(bench: Bench) -> None:
    """What it does then looks like a port without TLS, or one with a log in; so it does not for long."""
    assert not bench.contacts.has_worked("a:1", TLS)
    bench.contacts.answered("a:1", TLS)
    assert bench.contacts.has_worked("a:1", TLS)
    assert not bench.contacts.has_worked("a:1", SASL)
    for _ in range(2):
        bench.fails("a:1", Word.HUNG_UP)
        assert bench.contacts.has_worked("a:1", TLS)
        bench.now += STOPPING_S - 1
    bench.fails("a:1", Word.HUNG_UP)
    assert not bench.contacts.has_worked("a:1", TLS)
    bench.now += FRESH_S + 1
    bench.fails("a:1", Word.HUNG_UP)
    assert bench.contacts.has_worked("a:1", TLS), "it was not needed for long, and nobody knows what it did"


def test_what_nobody_tries_any_more_counts_for_nothing(bench: Bench) -> None:
    """A broker that left the cluster, a bootstrap server that nobody needs."""
    bench.fails("a:1", Word.SILENT)
    bench.now = FRESH_S + 1
    assert bench.contacts.trouble() is None


def test_each_cause_is_told_once_and_that_which_somebody_has_to_change_first(bench: Bench) -> None:
    """One broker of several may be away besides."""
    for address, word in (("a:1", Word.NOTHING_LISTENS), ("b:2", Word.LOGIN_REFUSED), ("c:3", Word.NOTHING_LISTENS)):
        bench.fails(address, word)
    assert bench.contacts.trouble() == (Word.LOGIN_REFUSED, "b:2 LoginRefused; c:3 NothingListens")
    assert bench.contacts.trouble({"a:1"}) == (Word.NOTHING_LISTENS, "a:1 NothingListens")
    assert bench.contacts.trouble({"d:4"}) is None


def test_a_failed_attempt_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """As a warning; the same one is throttled with aiokafka's own lines (noise.py)."""
    with caplog.at_level(logging.WARNING, "aiokafka"):
        bench.fails("a:1", Word.SILENT)
    assert [(line.name, line.msg, line.args) for line in caplog.records] == [("aiokafka", "a:1 Silent", ())]


def test_whoever_fails_by_it_says_it() -> None:
    """In words, and by the word as the cause, instead of by a class of the library."""
    unreachable = Unreachable(Diagnosis(Word.LOGIN_REFUSED, "a:1 refuses"))
    assert str(unreachable) == f"{unreachable!r}" == "a:1 refuses"
    unavailable = BrokerUnavailable("no")
    unavailable.__cause__ = unreachable
    assert name_of_cause(unavailable) == "LoginRefused"


def test_an_address_is_written_as_in_the_settings() -> None:
    """IPv6 in brackets."""
    assert [address_of("kafka", 9092), address_of("::1", 9092)] == ["kafka:9092", "[::1]:9092"]
