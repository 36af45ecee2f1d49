"""A server that plays a registry; the real one is in tests/conftest.py."""

from collections.abc import AsyncIterator

import pytest

from tests.support.registry import Stub, stub


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id's name is waited for, however slow the machine is."""
    monkeypatch.setattr("streamproc.registry.resolve.NAMING_S", 60)


@pytest.fixture
async def registry() -> AsyncIterator[Stub]:
    """A registry that answers what it is told to."""
    async with stub() as it:
        yield it
