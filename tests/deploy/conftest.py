"""What is to be had before the first test: a download must not count against its time."""

import pytest

from tests.support import prometheus as prom


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    """Fetch what is not installed; whoever needs what is not to be had says so itself."""
    for name in ("prometheus", "promtool", "alertmanager", "amtool"):
        prom.find(name)
