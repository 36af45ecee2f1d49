"""What logs in is renewed in its files while the service runs: a certificate, an authority, a password."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streamproc.errors import BrokerUnavailable
from streamproc.local.kafka import HOST, LocalKafka, free_port
from streamproc.local.simulate import SimulatedEvent, simulate
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from tests.support.certificates import Authority
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

USER, FIRST, SECOND = "worker", "the-first-password", "the-second-password"
RENEWED = "changed files are in use for new connections"


class Broker(NamedTuple):
    """One that asks for a certificate (`tls`), or for a password over TLS (`login`); its own test goes in by `open`."""

    kafka: LocalKafka
    directory: Path
    authority: Authority
    password: Path
    tls: dict[str, object]
    login: dict[str, object]

    def certify(self, authority: Authority) -> None:
        """Give it a certificate, in force from its next start on."""
        pair = authority.issue("broker")
        text = Path(pair.key_file).read_text() + Path(pair.cert_file).read_text()
        (self.directory / "broker.store.pem").write_text(text)

    def take(self, password: str) -> None:
        """Change the user's password, there."""
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        upsertion = UserScramCredentialUpsertion(USER, credentials, password.encode())
        admin.alter_user_scram_credentials([upsertion])[USER].result()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker of the test's own: it is restarted."""
    authority = Authority(tmp_path)
    inside, tls, sasl = (free_port() for _ in range(3))
    properties = _properties(authority.ca_file, tmp_path / "broker.store.pem", inside, tls, sasl)
    kafka = LocalKafka(port=inside, properties=properties)
    ours, password = authority.issue("client"), tmp_path / "password"
    password.write_text(FIRST)
    at_tls = {
        "KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:{tls}",
        "KAFKA__SECURITY_PROTOCOL": "SSL",
        "KAFKA__SSL_CAFILE": authority.ca_file,
        "KAFKA__SSL_CERTFILE": ours.cert_file,
        "KAFKA__SSL_KEYFILE": ours.key_file,
    }
    at_sasl = {
        "KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:{sasl}",
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__SSL_CAFILE": authority.ca_file,
        "KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA__SASL_USERNAME": USER,
        "KAFKA__SASL_PASSWORD_FILE": password,
    }
    it = Broker(kafka, tmp_path, authority, password, at_tls, at_sasl)
    it.certify(authority)
    try:
        await kafka.start()
        yield it
    finally:
        await kafka.stop()


@pytest.fixture
async def service(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Fleet]:
    """Topics on that broker, and no worker yet."""
    async with fleet(broker.kafka.bootstrap_servers, unique("renewed"), tmp_path) as it:
        yield it


@pytest.fixture
def events() -> list[SimulatedEvent]:
    """Half of them before, half of them after."""
    return list(simulate(seed=3, events=200, bad_ratio=0.05))


async def test_a_renewed_certificate_is_used_once_the_old_one_has_ended(
    broker: Broker, service: Fleet, events: list[SimulatedEvent]
) -> None:
    worker = service.start(**broker.tls)
    await service.send(events[:100])
    await service.drained()
    broker.authority.issue("client", hours=-1)
    await refused(broker, worker, broker.tls)
    broker.authority.issue("client")
    await goes_on(worker, service, events[100:])
    assert len(worker.events(RENEWED)) == 2, "the one that had ended was in use, too"


async def test_a_changed_authority_is_trusted(broker: Broker, service: Fleet, events: list[SimulatedEvent]) -> None:
    """The broker's certificate is signed by somebody new, whom the file tells of a little later."""
    broker.take(FIRST)
    worker = service.start(**broker.login)
    await service.send(events[:100])
    await service.drained()
    elsewhere = broker.directory / "new"
    elsewhere.mkdir()
    authority = Authority(elsewhere)
    broker.certify(authority)
    await refused(broker, worker, broker.login)
    Path(authority.ca_file).replace(broker.authority.ca_file)
    await goes_on(worker, service, events[100:])


async def test_a_changed_password_is_followed(broker: Broker, service: Fleet, events: list[SimulatedEvent]) -> None:
    """First on the broker, then in the file."""
    broker.take(FIRST)
    worker = service.start(**broker.login)
    await service.send(events[:100])
    await service.drained()
    broker.take(SECOND)
    await refused(broker, worker, broker.login)
    broker.password.write_text(f"{SECOND}\n")
    await goes_on(worker, service, events[100:])
    assert FIRST not in worker.output()
    assert SECOND not in worker.output()


async def refused(broker: Broker, worker: Worker, login: dict[str, object]) -> None:
    """End all connections, and see that nobody gets a new one by what is in the files."""
    await broker.kafka.kill()
    await broker.kafka.start_again()
    probe = AioKafka(
        KafkaSettings(**{name.removeprefix("KAFKA__").lower(): str(value) for name, value in login.items()}), "probe"
    )
    with pytest.raises(BrokerUnavailable):
        await probe.partition_count("any")
    await probe.close()

    async def unready() -> bool:
        return not await worker.is_ready()

    await eventually(unready)


async def goes_on(worker: Worker, service: Fleet, events: list[SimulatedEvent]) -> None:
    """See that the same process does the rest, exactly once."""
    await service.send(events)
    await service.drained()
    await eventually(worker.is_ready)
    assert worker.events(RENEWED)
    assert worker.stop() == 0
    assert await service.check() == 200


def _properties(ca_file: str, store: Path, inside: int, tls: int, sasl: int) -> dict[str, str]:
    controller = free_port()
    places = {"PLAINTEXT": inside, "SSL": tls, "SASL_SSL": sasl, "CONTROLLER": controller}
    return {
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in places.items()),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.ssl.ssl.truststore.type": "PEM",
        "listener.name.ssl.ssl.truststore.location": ca_file,
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
