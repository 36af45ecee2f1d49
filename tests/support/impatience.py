"""Nothing waits where there is no real broker."""

import pytest


def wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what the runtime waits between two looks, for one test."""
    monkeypatch.setattr("streamproc.backoff.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("streamproc.backoff.LONGEST_WAIT_S", 0.002)
    monkeypatch.setattr("streamproc.runtime.takeover.MEMBERSHIP_POLL_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.takeover.STABLE_POLL_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.granting.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.granting.LONGEST_WAIT_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.restore.LOOK_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.cycle.TICK_S", 0.0)
    monkeypatch.setattr("streamproc.runtime.cycle.SILENT_TICK_S", 0.0)
    monkeypatch.setattr("streamproc.runtime.windowing.WindowStage.every_s", 0.0)
    monkeypatch.setattr("streamproc.runtime.pausing.POLL_S", 0.005)
    monkeypatch.setattr("streamproc.runtime.pausing.LOOK_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.worker.POLL_S", 0.005)
