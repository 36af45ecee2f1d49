"""What the probes know of a task, and the words that they have for the service."""

from enum import StrEnum

from msgspec import Struct

from streamproc.runtime.observer import Pause, TaskState


class Status(StrEnum):
    """What the service is doing, in one word."""

    STARTING = "starting"
    RESTORING = "restoring"
    PAUSED = "paused"
    REBALANCING = "rebalancing"
    BROKER_UNAVAILABLE = "broker_unavailable"
    DENIED = "denied"
    FENCED = "fenced"
    STALLED = "stalled"
    IDLE = "idle"
    RUNNING = "running"


class Watched(Struct):
    """One task, of either stage, in its present state. `moved_at`: when it last read or committed something."""

    state: TaskState
    moved_at: float
    remaining: int = 0
    lag: int = 0
    measured: bool = False
    caught_up: bool = False
    pause: tuple[Pause, str] | None = None
    paused_at: float = 0.0
