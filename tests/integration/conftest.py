"""An application of its own on the session's broker."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.service import Fleet, fleet


@pytest.fixture
async def service(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Fleet]:
    """Topics, and no worker yet."""
    async with fleet(kafka_bootstrap, unique("service"), tmp_path) as it:
        yield it
