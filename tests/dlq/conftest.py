"""A service's topics on the fake Kafka, with dead letters in them."""

import pytest

from streamproc.dlq import replaying
from tests.support.desk import Desk


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(replaying, "LONGEST_WAIT_S", 0.01)


@pytest.fixture
async def desk() -> Desk:
    """Two partitions, nothing in them."""
    desk = Desk()
    await desk.create()
    return desk
