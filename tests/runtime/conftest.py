"""Nothing waits here for the sake of a real broker."""

import pytest

from tests.support.impatience import wait_for_nothing


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_nothing(monkeypatch)
