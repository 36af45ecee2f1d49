"""Nothing waits here for the sake of a real broker."""

import pytest


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.runtime.task.MIN_BACKOFF_S", 0.0)
    monkeypatch.setattr("streamproc.runtime.task.MEMBERSHIP_POLL_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.pausing.MIN_BACKOFF_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.pausing.POLL_S", 0.005)
    monkeypatch.setattr("streamproc.runtime.pausing.LOOK_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.worker.POLL_S", 0.005)
    monkeypatch.setattr("streamproc.runtime.worker.PARTITION_CHECK_S", 0.02)
