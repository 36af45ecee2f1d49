"""Whatever keeps a connection from coming about is told by its cause and the setting: at the start, and while running.

One broker with a listener of each kind, each server's certificate of its own; it is killed and run again on the way.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka.client import AIOKafkaClient
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streamproc.errors import BrokerUnavailable
from streamproc.local.kafka import HOST, free_port
from streamproc.local.simulate import simulate
from streamproc.runtime.aio.certificates import ended
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.connection import connection, started
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.diagnosis import Word
from tests.support.certificates import Authority, Pair
from tests.support.commands import finished
from tests.support.kafka import Restartable, restartable
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

USER, PASSWORD, OTHER_PASSWORD = "worker", "not-to-be-shown", "guessed-by-nobody"
PROTOCOLS = {
    "INSIDE": "PLAINTEXT",
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "OVER": "SSL",
    "ELSEWHERE": "SSL",
    "LOGIN": "SASL_PLAINTEXT",
    "LOGIN_TLS": "SASL_SSL",
    "MISLEADING": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
}
"""The listeners. MUTUAL asks for a client certificate; OVER has one that has ended, ELSEWHERE one of another host;
MISLEADING sends clients to where nobody is."""
NOWHERE = "broker.invalid:9092"
MODULES = "org.apache.kafka.common.security"
SETTING = "STREAMPROC_KAFKA__"


class Site(NamedTuple):
    """A broker, its ports by listener, and who signed its certificates; `store`: that of TLS."""

    kafka: Restartable
    ports: Mapping[str, int]
    authority: Authority
    stranger: Authority
    client: Pair
    store: Path

    def at(self, listener: str) -> str:
        """Return where a listener is."""
        return f"{HOST}:{self.ports[listener]}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker for all of these tests."""
    authority = Authority(tmp_path_factory.mktemp("ours"))
    stranger = Authority(tmp_path_factory.mktemp("strangers"))
    stores = tmp_path_factory.mktemp("stores")
    ports = {listener: free_port() for listener in PROTOCOLS}
    with restartable(ports["INSIDE"], _properties(authority, stores, ports)) as kafka:
        _set_password(kafka.bootstrap_servers, PASSWORD)
        yield Site(kafka, ports, authority, stranger, authority.issue("client"), stores / "TLS.pem")


@pytest.fixture
async def service(site: Site, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Fleet]:
    """Topics on that broker, and no worker yet."""
    async with fleet(site.kafka.bootstrap_servers, unique("refused"), tmp_path) as it:
        yield it


@pytest.fixture
async def strangers() -> AsyncIterator[Mapping[str, int]]:
    """Ports of servers that are no Kafka: HTTP, one that says nothing, one that hangs up."""
    answers = {"http": b"HTTP/1.1 400 Bad Request\r\nConnection: keep-alive\r\n\r\n", "silent": b"", "hangs up": None}
    ports: dict[str, int] = {}
    servers = []
    for name, answer in answers.items():

        async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes | None = answer) -> None:
            writer.write(answer or b"")
            if answer is None:
                writer.close()

        servers.append(await asyncio.start_server(take, HOST, 0))
        ports[name] = servers[-1].sockets[0].getsockname()[1]
    yield ports
    for server in servers:
        server.close()


def trusting(site: Site, **more: object) -> dict[str, object]:
    """Return the settings of a client that trusts the broker's authority."""
    return {"security_protocol": "SSL", "ssl_cafile": site.authority.ca_file, **more}


def showing(pair: Pair) -> dict[str, object]:
    """Return the settings of a client with a certificate."""
    return {"ssl_certfile": pair.cert_file, "ssl_keyfile": pair.key_file}


def logging_in(protocol: str, **more: object) -> dict[str, object]:
    """Return the settings of a client with a password."""
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": USER, "sasl_password": PASSWORD}
    return {"security_protocol": protocol, **login, **more}


Case = tuple[str, Callable[[Site], dict[str, object]], Word, list[str]]
CASES: dict[str, Case] = {
    "wrong password": (
        "LOGIN",
        lambda _: logging_in("SASL_PLAINTEXT", sasl_password=OTHER_PASSWORD),
        Word.LOGIN_REFUSED,
        ["user worker by SCRAM-SHA-512 (", "invalid credentials", "SASL_USERNAME", "SASL_PASSWORD"],
    ),
    "wrong password, over TLS": (
        "LOGIN_TLS",
        lambda site: trusting(site, **logging_in("SASL_SSL", sasl_mechanism="PLAIN", sasl_password=OTHER_PASSWORD)),
        Word.LOGIN_REFUSED,
        ["user worker by PLAIN (", "Invalid username or password", "SASL_USERNAME", "SASL_PASSWORD"],
    ),
    "mechanism off": (
        "LOGIN",
        lambda _: logging_in("SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256"),
        Word.MECHANISM_OFF,
        ["by SCRAM-SHA-256; it offers ", "SCRAM-SHA-512", "SASL_MECHANISM"],
    ),
    "unknown authority": (
        "TLS",
        lambda site: trusting(site, ssl_cafile=site.stranger.ca_file),
        Word.SERVER_CERTIFICATE_UNTRUSTED,
        ["(certificate signature failure)", "SSL_CAFILE"],
    ),
    "another host's certificate": (
        "ELSEWHERE",
        trusting,
        Word.HOST_NAME_MISMATCH,
        ["not valid for '127.0.0.1'", "BOOTSTRAP_SERVERS"],
    ),
    "expired server certificate": (
        "OVER",
        trusting,
        Word.SERVER_CERTIFICATE_EXPIRED,
        ["(certificate has expired)", "ssl.keystore.location"],
    ),
    "no client certificate": (
        "MUTUAL",
        trusting,
        Word.CLIENT_CERTIFICATE_MISSING,
        ["certificate required", "SSL_CERTFILE", "SSL_KEYFILE"],
    ),
    "expired client certificate": (
        "MUTUAL",
        lambda site: trusting(site, **showing(site.authority.issue("past", hours=-1))),
        Word.CLIENT_CERTIFICATE_EXPIRED,
        ["certificate unknown", "which ended on ", "SSL_CERTFILE", "SSL_KEYFILE"],
    ),
    "a stranger's client certificate": (
        "MUTUAL",
        lambda site: trusting(site, **showing(site.stranger.issue("stranger"))),
        Word.CLIENT_CERTIFICATE_REFUSED,
        ["certificate unknown", "SSL_CERTFILE", "ssl.truststore.location"],
    ),
    "TLS to a port without": ("INSIDE", trusting, Word.NO_TLS, ["does not speak TLS", "SECURITY_PROTOCOL=PLAINTEXT"]),
    "TLS to a log in without": (
        "LOGIN",
        lambda site: trusting(site, **logging_in("SASL_SSL")),
        Word.NO_TLS,
        ["BOOTSTRAP_SERVERS", "SECURITY_PROTOCOL=SASL_PLAINTEXT"],
    ),
    "plaintext to a log in": (
        "LOGIN",
        lambda _: {},
        Word.LOGIN_WANTED,
        ["SECURITY_PROTOCOL=SASL_PLAINTEXT", "SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD"],
    ),
    "TLS alone to a log in over TLS": ("LOGIN_TLS", trusting, Word.LOGIN_WANTED, ["SECURITY_PROTOCOL=SASL_SSL"]),
    "plaintext to TLS": ("TLS", lambda _: {}, Word.TLS_WANTED, ["SECURITY_PROTOCOL=SSL", "SSL_CAFILE"]),
    "plaintext to mutual TLS": ("MUTUAL", lambda _: {}, Word.TLS_WANTED, ["SECURITY_PROTOCOL=SSL"]),
    "log in in the clear to TLS": (
        "LOGIN_TLS",
        lambda _: logging_in("SASL_PLAINTEXT"),
        Word.TLS_WANTED,
        ["SECURITY_PROTOCOL=SASL_SSL"],
    ),
    "log in where there is none": (
        "INSIDE",
        lambda _: logging_in("SASL_PLAINTEXT"),
        Word.LOGIN_NOT_TAKEN,
        ["SECURITY_PROTOCOL=PLAINTEXT"],
    ),
    "a controller's port": ("CONTROLLER", lambda _: {}, Word.NOT_A_BROKER, ["a controller's", "BOOTSTRAP_SERVERS"]),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_refusal_says_at_the_start_what_was_said_and_which_setting(site: Site, case: str) -> None:
    """By whichever client, the broker's address first; and never a secret."""
    listener, more, word, parts = CASES[case]
    settings = _settings(site.at(listener), **more(site))
    for client in (Client(settings), AIOKafkaClient(**connection(settings))):
        await _refused(client, settings, f"{site.at(listener)} ", *parts)
    failure = await _failure(settings)
    assert str(getattr(failure.__cause__, "word", "")) == word


@pytest.mark.parametrize(
    ("name", "more", "parts"),
    [
        ("http", {}, ["is not a Kafka broker, it speaks HTTP"]),
        ("http", {"security_protocol": "SSL"}, ["does not speak TLS on this port", "SECURITY_PROTOCOL=PLAINTEXT"]),
        ("silent", {}, ["accepts the connection, but does not answer the request"]),
        ("silent", {"security_protocol": "SSL"}, ["does not answer the connection or TLS handshake attempt"]),
        ("hangs up", {}, ["closes the connection without an answer", "SECURITY_PROTOCOL"]),
    ],
)
async def test_what_is_no_kafka_is_named(
    strangers: Mapping[str, int], name: str, more: dict[str, object], parts: list[str]
) -> None:
    """An HTTP server that keeps the connection among them: no answer of a gigabyte is waited for."""
    where = f"{HOST}:{strangers[name]}"
    settings = _settings(where, **more)
    await _refused(Client(settings), settings, f"{where} ", *parts, "BOOTSTRAP_SERVERS")


async def test_an_address_where_nobody_is_is_named() -> None:
    """Nothing listens; the name is none; and of several each with its cause."""
    nothing = f"{HOST}:{free_port()}"
    settings = _settings(f"{nothing},{NOWHERE}")
    parts = (f"{nothing} refuses the connection: nothing listens on this port", f"{NOWHERE} cannot be resolved")
    await _refused(Client(settings), settings, *parts, "BOOTSTRAP_SERVERS")


async def test_a_broker_that_sends_its_clients_elsewhere_is_told_by_that_address(site: Site) -> None:
    """It answers at the address of the settings, and names another one as its own."""
    failure = await _failure(_settings(site.at("MISLEADING")))
    assert f"Kafka did not answer: {NOWHERE} cannot be resolved (" in str(failure)
    assert "if this address is not listed there, check the broker's advertised.listeners" in str(failure)


@pytest.mark.parametrize(
    "command",
    ["topics check", "topics create", "offsets show", "tail alerts", "dlq list", "runs list"],
)
def test_a_command_ends_with_the_same_words(site: Site, service: Fleet, command: str) -> None:
    """One message, exit code 1, and nothing of another library's besides."""
    where = site.at("LOGIN")
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": where,
        **_environment(logging_in("SASL_PLAINTEXT", sasl_password=OTHER_PASSWORD)),
    }
    code, output, errors = finished(service.environment(**settings), *command.split())
    assert (code, output) == (1, "")
    said = " ".join(errors.split())
    assert said.startswith(
        f"streamproc: cannot connect to Kafka at {where}: {where} refuses the login of user worker by SCRAM-SHA-512 ("
    )
    assert said.endswith(f": check {SETTING}SASL_USERNAME and {SETTING}SASL_PASSWORD")
    assert OTHER_PASSWORD not in said


async def test_a_password_that_works_no_longer_is_told_while_running(site: Site, service: Fleet) -> None:
    """Changed on the broker, which then restarts: first nothing listens, then the log in is refused; and it goes on."""
    where, inside = site.at("LOGIN"), site.kafka.bootstrap_servers
    login = {"KAFKA__BOOTSTRAP_SERVERS": where, **_environment(logging_in("SASL_PLAINTEXT"))}
    worker = await _running(service, login)
    await asyncio.to_thread(_set_password, inside, OTHER_PASSWORD)
    await asyncio.to_thread(site.kafka.kill)
    try:
        await eventually(lambda: _says(worker, Word.NOTHING_LISTENS, f"{where} refuses the connection"))
    finally:
        await asyncio.to_thread(site.kafka.start_again)
        refused = f"{where} refuses the login of user worker by SCRAM-SHA-512 ("
        try:
            await eventually(lambda: _says(worker, Word.LOGIN_REFUSED, refused, f"{SETTING}SASL_PASSWORD"))
        finally:
            await asyncio.to_thread(_set_password, inside, PASSWORD)
    await eventually(worker.is_ready)
    assert any(line["event"].startswith(refused) for line in worker.lines()), "the log has it as well"
    assert PASSWORD not in worker.output()
    assert worker.stop() == 0
    assert await service.check() == 200


async def test_a_server_certificate_that_has_expired_is_told_while_running(site: Site, service: Fleet) -> None:
    """The broker restarts with it; once it has another one the service goes on by itself."""
    where, good = site.at("TLS"), site.store.read_text()
    worker = await _running(service, {"KAFKA__BOOTSTRAP_SERVERS": where, **_environment(trusting(site))})
    await _restart(site, _store(site.authority.issue("late", hours=-1)))
    try:
        await eventually(lambda: _says(worker, Word.SERVER_CERTIFICATE_EXPIRED, f"{where} has an expired certificate"))
    finally:
        await _restart(site, good)
    await eventually(worker.is_ready)
    assert worker.stop() == 0


@pytest.mark.slow
async def test_a_client_certificate_that_expires_is_told_while_running(site: Site, service: Fleet) -> None:
    """It ends in the middle; the connections that there are hold, those after a restart of the broker are refused."""
    where = site.at("MUTUAL")
    mine = site.authority.issue("brief", hours=45 / 3_600)
    settings = _environment(trusting(site, **showing(mine)))
    worker = await _running(service, {"KAFKA__BOOTSTRAP_SERVERS": where, **settings})
    await eventually(lambda: ended(mine.cert_file) is not None)
    await _restart(site, site.store.read_text())
    parts = f"{where} does not accept the client certificate", "which ended on ", f"{SETTING}SSL_CERTFILE"
    await eventually(lambda: _says(worker, Word.CLIENT_CERTIFICATE_EXPIRED, *parts))
    assert worker.process.poll() is None


async def _running(service: Fleet, settings: Mapping[str, object]) -> Worker:
    """Return a worker that has caught up."""
    worker = service.start(**settings)
    await service.send(simulate(seed=5, events=200))
    await service.drained()
    await eventually(worker.is_ready)
    return worker


async def _says(worker: Worker, word: Word, *parts: str) -> bool:
    """Whether the readiness probe fails by that cause, on every partition that has one, and says so in its message."""
    code, body = await worker.get("/readyz")
    said = json.loads(body)
    reasons = {cause["reason"] for cause in said["causes"].values()}
    assert (await worker.get("/livez"))[0] == 200
    return code == 503 and reasons == {word} and all(part in said["message"] for part in parts)


async def _restart(site: Site, store: str) -> None:
    await asyncio.to_thread(site.kafka.kill)
    site.store.write_text(store)
    await asyncio.to_thread(site.kafka.start_again)


async def _refused(client: AIOKafkaClient, settings: KafkaSettings, *parts: str) -> None:
    with pytest.raises(BrokerUnavailable, match=r"^cannot connect to Kafka at ") as raised:
        await started(client, settings)
    said = str(raised.value)
    assert [part for part in parts if part not in said] == [], said
    assert PASSWORD not in said
    assert OTHER_PASSWORD not in said


async def _failure(settings: KafkaSettings) -> BrokerUnavailable:
    kafka = AioKafka(settings, "nobody")
    with pytest.raises(BrokerUnavailable) as raised:
        await kafka.partition_count("any")
    await kafka.close()
    return raised.value


def _settings(where: str, **more: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"bootstrap_servers": where, **more})


def _environment(settings: Mapping[str, object]) -> dict[str, object]:
    return {f"KAFKA__{name.upper()}": value for name, value in settings.items()}


def _store(pair: Pair) -> str:
    return Path(pair.key_file).read_text() + Path(pair.cert_file).read_text()


def _properties(authority: Authority, stores: Path, ports: Mapping[str, int]) -> dict[str, str]:
    pairs = {
        "OVER": authority.issue("over", hours=-1),
        "ELSEWHERE": authority.issue("elsewhere", host="kafka.example"),
    }
    listeners = {listener: f"{listener}://{HOST}:{port}" for listener, port in ports.items()}
    advertised = {**listeners, "MISLEADING": f"MISLEADING://{NOWHERE}"}
    properties = {
        "listeners": ",".join(listeners.values()),
        "advertised.listeners": ",".join(advertised[name] for name in ports if name != "CONTROLLER"),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in PROTOCOLS.items()),
        "inter.broker.listener.name": "INSIDE",
        "controller.quorum.voters": f"1@{HOST}:{ports['CONTROLLER']}",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": authority.ca_file,
    }
    for listener, protocol in PROTOCOLS.items():
        prefix = f"listener.name.{listener.lower()}"
        if protocol.endswith("SSL"):
            store = stores / f"{listener}.pem"
            store.write_text(_store(pairs.get(listener) or authority.issue(listener)))
            properties |= {f"{prefix}.ssl.keystore.type": "PEM", f"{prefix}.ssl.keystore.location": str(store)}
        if protocol.startswith("SASL"):
            plain = f'{MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            properties[f"{prefix}.plain.sasl.jaas.config"] = plain
            scram = f"{MODULES}.scram.ScramLoginModule required;"
            properties[f"{prefix}.scram-sha-512.sasl.jaas.config"] = scram
    return properties


def _set_password(bootstrap: str, password: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, info, password.encode())
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.alter_user_scram_credentials([change])[USER].result()
