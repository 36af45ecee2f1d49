"""A broker that takes tokens only: of a token endpoint, and of a file."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.metadata import MetadataRequest

from streamproc.local.kafka import HOST, free_port
from streamproc.local.simulate import SimulatedEvent, simulate
from streamproc.runtime.aio import sessions
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.connection import started, stopped
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import Tokens
from streamproc.tokens.source import source_of
from tests.support.issuer import AUDIENCE, CLIENT, ISSUER, SECRET, Endpoint, Issuer, token_endpoint
from tests.support.kafka import from_packages
from tests.support.receiver import status
from tests.support.service import Fleet, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

SESSION_MS = 3_000
"""After which the broker drops a connection that has not logged in anew."""
FAILED = "transaction failed, its partitions start over from their last commit"


class Guarded:
    """A broker: where the test asks without a log in, and where the service has to show a token."""

    def __init__(self, bootstrap: str, port: int, issuer: Issuer) -> None:
        self.bootstrap = bootstrap
        self.issuer = issuer
        self.login = {
            "KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:{port}",
            "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        }

    def by_endpoint(self, url: str, **others: object) -> dict[str, object]:
        """Return the settings for tokens of an endpoint."""
        login = {"TOKEN_URL": url, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, **others}
        return {**self.login, **{f"KAFKA__OAUTH__{name}": value for name, value in login.items()}}

    def by_file(self, path: Path) -> dict[str, object]:
        """Return the settings for tokens in a file."""
        return {**self.login, "KAFKA__OAUTH__TOKEN_FILE": path}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    inside, port, controller = (free_port() for _ in range(3))
    keys = issuer.jwks_file.as_uri()
    with pytest.MonkeyPatch.context() as patch:
        # Kafka reads keys only from where this allows it to.
        patch.setenv("JAVA_TOOL_OPTIONS", f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}")
        with from_packages(inside, _properties(keys, inside, port, controller)) as bootstrap:
            yield Guarded(bootstrap, port, issuer)


@pytest.fixture
async def service(guarded: Guarded, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Fleet]:
    """Topics on that broker, and no worker yet."""
    async with fleet(guarded.bootstrap, unique("oauth"), tmp_path) as it:
        yield it


@pytest.fixture
async def endpoint(guarded: Guarded) -> AsyncIterator[Endpoint]:
    async with token_endpoint(guarded.issuer) as it:
        yield it


def now(**load: Any) -> Iterator[SimulatedEvent]:
    """Return events of now: Kafka's retention takes older ones half a minute after a broker's start."""
    return simulate(start_ms=int(time.time() * 1000), **load)


async def test_one_token_for_all_connections_renewed_while_running(
    guarded: Guarded, service: Fleet, endpoint: Endpoint
) -> None:
    """And the broker ends every session: nothing is lost or doubled."""
    endpoint.life_s = 8
    worker = service.start(**guarded.by_endpoint(endpoint.url), INSTANCES__INTERVAL_S=1)
    await eventually(worker.is_ready)
    events = iter(now(seed=3, events=4_000, bad_ratio=0.05))
    while len(endpoint.given) < 4:
        await service.send([event for event, _ in zip(events, range(50), strict=False)])
        await service.drained()
    print(f"{len(worker.events(FAILED))} transactions failed at the ends of sessions; without care each one does")
    assert worker.stop() == 0
    said = worker.output()
    assert SECRET not in said
    assert not any(token in said for token in endpoint.given)
    assert await service.check() > 0


async def test_a_connection_whose_session_is_about_to_end_is_not_used(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiokafka would send the next request on it, and the broker would hang up (KIP-368)."""
    file = tmp_path / "token"
    file.write_text(guarded.issuer.token())
    tokens = Tokens()
    tokens.come_from(source_of)
    monkeypatch.setattr("streamproc.runtime.aio.tokens.TOKENS", tokens)
    login = {key.removeprefix("KAFKA__").lower(): value for key, value in guarded.login.items()}
    settings = KafkaSettings(**login, oauth={"token_file": str(file)})
    client = Client(settings)
    await started(client, settings)
    node = client.get_random_node()
    place = node, ConnectionGroup.DEFAULT
    await client.send(node, MetadataRequest([]))
    first = client._conns[place]
    later = SimpleNamespace(monotonic=lambda: first.streamproc_session_ends + 1)
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "time", later)
        await client.send(node, MetadataRequest([]))
    assert client._conns[place] is not first
    assert not first.connected()
    await stopped(client)


async def test_a_token_file_is_read_before_every_log_in(guarded: Guarded, service: Fleet, tmp_path: Path) -> None:
    """As Kubernetes renews it: the sessions of the first token end, later ones begin with what is in the file then."""
    file = tmp_path / "token"
    file.write_text(guarded.issuer.token() + "\n")
    worker = service.start(**guarded.by_file(file))
    await eventually(worker.is_ready)
    file.write_text("")
    await eventually(lambda: "that file is empty" in worker.output())
    file.write_text(guarded.issuer.token())
    await service.send(now(seed=4, events=100))
    await service.drained()
    await eventually(worker.is_ready)
    assert worker.stop() == 0
    assert await service.check() == 100


async def test_an_endpoint_that_is_away_at_the_start_is_waited_for(guarded: Guarded, service: Fleet) -> None:
    port = free_port()
    worker = service.start(**guarded.by_endpoint(f"http://{HOST}:{port}/token"))
    await eventually(lambda: bool(worker.events("started")))

    async def said() -> bool:
        code, body = await worker.get("/readyz")
        return code == 503 and f"the token endpoint at http://{HOST}:{port} gives no token" in body

    await eventually(said)
    async with token_endpoint(guarded.issuer, port):
        await eventually(worker.is_ready)
        assert worker.stop() == 0


async def test_an_endpoint_that_goes_away_is_survived(guarded: Guarded, service: Fleet, endpoint: Endpoint) -> None:
    """What fails is said with its cause, and that it works again; whether or not the old token lasted till then."""
    endpoint.life_s = 15
    worker = service.start(**guarded.by_endpoint(endpoint.url))
    await eventually(worker.is_ready)
    endpoint.server.behave = status(503)
    await eventually(lambda: bool(worker.events("no new token for Kafka")))
    await service.send(now(seed=5, events=100))
    endpoint.server.behave = endpoint.answer
    await eventually(lambda: len(worker.events("token for Kafka")) > 1)
    await service.send(now(seed=6, events=100))
    await service.drained()
    assert worker.stop() == 0
    line = worker.events("no new token for Kafka")[0]
    assert line["why"].endswith("gives no token: HTTP status 503: check STREAMPROC_KAFKA__OAUTH__TOKEN_URL")
    assert await service.check() == 200


async def test_a_token_that_the_broker_refuses_before_its_end_is_fetched_anew(
    guarded: Guarded, service: Fleet, endpoint: Endpoint
) -> None:
    """As if it had been withdrawn; the worker goes on, and does not wait for the end that it was told."""
    endpoint.life_s, endpoint.told_s = 2 * SESSION_MS // 1000, 3_600
    worker = service.start(**guarded.by_endpoint(endpoint.url))
    await eventually(worker.is_ready)
    await eventually(lambda: bool(worker.events("a token for Kafka is refused before its end")))
    endpoint.life_s = 3_600
    await eventually(lambda: len(endpoint.given) > 1)
    await service.send(now(seed=7, events=100))
    await service.drained()
    assert worker.stop() == 0
    assert await service.check() == 100


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"CLIENT_SECRET": "guessed"}, "invalid_client: check STREAMPROC_KAFKA__OAUTH__CLIENT_ID and "),
        ({"audience": "another"}, "the broker does not accept the token (invalid_token): compare its issuer, audience"),
    ],
)
async def test_what_is_refused_is_said(
    guarded: Guarded, service: Fleet, endpoint: Endpoint, wrong: dict[str, str], words: str
) -> None:
    """By the endpoint, and by the broker."""
    endpoint.audience = wrong.pop("audience", AUDIENCE)
    worker = service.start(**guarded.by_endpoint(endpoint.url, **wrong))
    assert await worker.end() == 1
    output = worker.output()
    assert words in output, output
    assert "Traceback" not in output
    for secret in ("guessed", SECRET, "<payload>", *endpoint.given):
        assert secret not in output


def _properties(keys: str, inside: int, port: int, controller: int) -> dict[str, str]:
    package = "org.apache.kafka.common.security.oauthbearer"
    listener = "listener.name.sasl_plaintext.oauthbearer"
    return {
        "listeners": f"PLAINTEXT://{HOST}:{inside},SASL_PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{listener}.sasl.jaas.config": f"{package}.OAuthBearerLoginModule required;",
        f"{listener}.sasl.server.callback.handler.class": f"{package}.OAuthBearerValidatorCallbackHandler",
        f"{listener}.connections.max.reauth.ms": str(SESSION_MS),
        # The default one of Kafka 4.1.0 takes any token, with whatever signature.
        "sasl.oauthbearer.jwt.validator.class": f"{package}.BrokerJwtValidator",
        "sasl.oauthbearer.jwks.endpoint.url": keys,
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "sasl.oauthbearer.expected.issuer": ISSUER,
    }
