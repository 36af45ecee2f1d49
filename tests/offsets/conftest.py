"""An application on the fake Kafka, and what the commands need of it."""

import io
from typing import NamedTuple

import pytest
from rich.console import Console

from streamproc.core.profiles import ASSISTANTS
from streamproc.offsets.standing import Desk
from streamproc.printing import Consoles
from tests.support.application import MAX_RECORD_BYTES, Application
from tests.support.fake_kafka import FakeKafka
from tests.support.impatience import wait_for_nothing


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_nothing(monkeypatch)
    monkeypatch.setattr("streamproc.offsets.watching.POLL_S", 0.005)
    monkeypatch.setattr("streamproc.offsets.watching.LOOKS", 60)


class Screen(NamedTuple):
    """What a command prints."""

    consoles: Consoles

    @property
    def out(self) -> str:
        """Its results."""
        return self.consoles.out.file.getvalue()

    @property
    def err(self) -> str:
        """The rest."""
        return self.consoles.err.file.getvalue()


@pytest.fixture
def screen() -> Screen:
    """Two consoles, wide enough for everything."""
    return Screen(Consoles(*(Console(file=io.StringIO(), width=400, color_system=None) for _ in range(2))))


def desk_of(it: Application) -> Desk:
    """Return what the commands work with."""
    kafka: FakeKafka = it.kafka
    return Desk(kafka, it.topics, "app", ASSISTANTS.name, MAX_RECORD_BYTES)
