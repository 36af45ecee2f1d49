"""Nothing waits where there is no real broker."""

import pytest


def wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what the runtime waits between two looks, for one test."""
    monkeypatch.setattr("streamproc.runtime.task.MIN_BACKOFF_S", 0.0)
    monkeypatch.setattr("streamproc.runtime.task.MEMBERSHIP_POLL_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.pausing.POLL_S", 0.005)
    monkeypatch.setattr("streamproc.runtime.pausing.LOOK_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.worker.POLL_S", 0.005)
