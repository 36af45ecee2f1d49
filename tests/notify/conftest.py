"""Nothing waits here for the sake of a receiver that is far away."""

from collections.abc import AsyncIterator

import pytest

from tests.support.pushing import Pushing
from tests.support.receiver import Receiver, receiver


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.notify.alertmanager.LINGER_S", 0.02)
    monkeypatch.setattr("streamproc.notify.subscription.COMMIT_S", 0.02)
    for module in ("alertmanager", "webhook", "pusher"):
        monkeypatch.setattr(f"streamproc.notify.{module}.FIRST_WAIT_S", 0.01)
        monkeypatch.setattr(f"streamproc.notify.{module}.LONGEST_WAIT_S", 0.04)


@pytest.fixture
def pushing() -> Pushing:
    """One partition."""
    return Pushing()


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    """A receiver that takes everything."""
    async with receiver() as it:
        yield it
