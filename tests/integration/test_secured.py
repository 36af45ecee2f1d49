"""A broker that asks for TLS and a log in: every client of the service goes through both."""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import certifi
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streamproc.local.kafka import HOST, free_port
from streamproc.local.simulate import simulate
from tests.support.certificates import Authority
from tests.support.kafka import from_packages
from tests.support.service import Fleet, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

LOST, WORKS = "this instance does not get its report through", "this instance gets its report through again"
USER, PASSWORD = "worker", "not-to-be-shown"
SCRAM = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}


class Secured(NamedTuple):
    """A broker: where the test asks without a log in, where the service has to log in, and how."""

    open: str
    login: dict[str, object]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One broker, for PLAIN and for SCRAM."""
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    inside, port, controller = (free_port() for _ in range(3))
    with from_packages(inside, _properties(authority, directory, inside, port, controller)) as bootstrap:
        _give_passwords(bootstrap)
        login = {
            "KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:{port}",
            "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA__SSL_CAFILE": authority.ca_file,
            "KAFKA__SASL_USERNAME": USER,
            "KAFKA__SASL_PASSWORD": PASSWORD,
        }
        yield Secured(bootstrap, login)


@pytest.fixture
async def service(secured: Secured, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Fleet]:
    """Topics on that broker, and no worker yet."""
    async with fleet(secured.open, unique("secured"), tmp_path) as it:
        yield it


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_the_service_works_over_tls_with_a_log_in(secured: Secured, service: Fleet, mechanism: str) -> None:
    """And restores: each of its clients connects by itself."""
    # Of now: a broker drops what is older than a week when it first looks, 30 s after its start.
    events = list(simulate(seed=3, events=200, bad_ratio=0.05, start_ms=int(time.time() * 1_000)))
    for half in (events[:100], events[100:]):
        worker = service.start(**secured.login, KAFKA__SASL_MECHANISM=mechanism)
        await service.send(half)
        await service.drained()
        await eventually(worker.is_ready)
        assert worker.stop() == 0
        assert PASSWORD not in worker.output()
    assert await service.check() == 200


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"KAFKA__SASL_PASSWORD": "guessed"},
            "127.0.0.1:[0-9]+ refuses the login of user worker by PLAIN .*STREAMPROC_KAFKA__SASL_PASSWORD",
        ),
        (
            {"KAFKA__SSL_CAFILE": certifi.where()},
            "127.0.0.1:[0-9]+ has a certificate that is not trusted .*STREAMPROC_KAFKA__SSL_CAFILE",
        ),
    ],
)
async def test_what_is_refused_is_said(secured: Secured, service: Fleet, wrong: dict[str, object], words: str) -> None:
    """A password that is wrong, an authority that is unknown."""
    worker = service.start(**{**secured.login, **wrong})
    assert await worker.end() == 1
    output = worker.output()
    assert re.search(f"streamproc: cannot connect to Kafka at .*: {words}", output), output
    assert "Traceback" not in output
    assert "guessed" not in output


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        ("nothing", "the user lacks the right Describe on topic {}. "),
        ("describe", "the user lacks the right Write on topic {}. "),
    ],
)
async def test_without_rights_on_the_reports_topic_the_service_goes_on(
    secured: Secured, service: Fleet, allowed: str, words: str
) -> None:
    """rules.md 26: what is denied is said once, in words, and holds up nothing; once it is allowed reports come."""
    topic = service.topics.instances
    assert topic is not None
    rights = [_right(topic, AclOperation.WRITE, AclPermissionType.DENY)]
    if allowed == "describe":
        rights.append(_right(topic, AclOperation.DESCRIBE, AclPermissionType.ALLOW))
    admin = AdminClient({"bootstrap.servers": secured.open})
    for created in admin.create_acls(rights).values():
        created.result()
    worker = service.start(**secured.login, INSTANCES__INTERVAL_S=1)
    await service.send(simulate(seed=4, events=200, start_ms=int(time.time() * 1_000)))
    await service.drained()
    await eventually(lambda: bool(worker.events(LOST)))
    await eventually(worker.is_ready)
    for deleted in admin.delete_acls([_any_right(topic)]).values():
        deleted.result()
    await eventually(lambda: bool(worker.events(WORKS)))
    assert worker.stop() == 0
    [line] = worker.events(LOST)
    assert line["why"].startswith(words.format(topic))
    assert await service.check() == 200


def _right(topic: str, operation: AclOperation, kind: AclPermissionType) -> AclBinding:
    principal = f"User:{USER}"
    return AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, principal, "*", operation, kind)


def _any_right(topic: str) -> AclBindingFilter:
    everything = AclOperation.ANY, AclPermissionType.ANY
    return AclBindingFilter(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, None, None, *everything)


def _properties(authority: Authority, directory: Path, inside: int, port: int, controller: int) -> dict[str, str]:
    pair, store = authority.issue("broker"), directory / "broker.store.pem"
    store.write_text(Path(pair.key_file).read_text() + Path(pair.cert_file).read_text())
    module = "org.apache.kafka.common.security"
    return {
        "listeners": f"PLAINTEXT://{HOST}:{inside},SASL_SSL://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
        "sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        **{
            f"listener.name.sasl_ssl.{mechanism.lower()}.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;"
            for mechanism in SCRAM
        },
    }


def _give_passwords(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for mechanism in SCRAM.values():
        password = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
        admin.alter_user_scram_credentials([password])[USER].result()
