"""Fixtures for every test: a broker, a schema registry, and names that no other test has."""

import os
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support")  # Before it is imported: else its asserts say nothing.

from tests.support.apicurio import Apicurio, apicurio  # noqa: E402
from tests.support.caching import Unfetchable  # noqa: E402
from tests.support.kafka import any_broker  # noqa: E402
from tests.support.quickjvm import quicken  # noqa: E402

# How long an example takes is the machine's matter: it may be shared.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("streamproc", STEADY, derandomize=bool(os.environ.get("CI")))
settings.load_profile("streamproc")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the broker, so that `-m 'not kafka'` needs no upkeep."""
    for item in items:
        if "kafka_bootstrap" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have brokers start quickly, where any will be started."""
    if not session.config.option.collectonly and any(
        item.get_closest_marker("kafka") for item in getattr(session, "items", ())
    ):
        quicken()


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """One real broker for the whole session; `tests/support/kafka.py` says where it comes from."""
    with any_broker() as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture(scope="session")
def real_registry() -> Iterator[Apicurio]:
    """One Apicurio Registry; skips where it cannot be fetched, unless CI is set."""
    try:
        with apicurio() as registry:
            yield registry
    except Unfetchable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def registry_url(real_registry: Apicurio) -> str:
    """Where it has Confluent's API."""
    return real_registry.url


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes topic, group and application names that no other test uses, on whatever broker is there."""
    return lambda prefix: f"{prefix}-{uuid4().hex[:12]}"
