"""Fixtures for every test: a broker, and names that no other test has."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.support.kafka import any_broker


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the broker, so that `-m 'not kafka'` needs no upkeep."""
    for item in items:
        if "kafka_bootstrap" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """One real broker for the whole session; `tests/support/kafka.py` says where it comes from."""
    with any_broker() as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes topic, group and application names that no other test uses, on whatever broker is there."""
    return lambda prefix: f"{prefix}-{uuid4().hex[:12]}"
