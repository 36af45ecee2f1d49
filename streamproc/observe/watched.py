"""What the probes know of a task, and the words that they have for the service."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from streamproc.observe.places import named
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState


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


WAITING_FOR_KAFKA = Status.STARTING, Status.REBALANCING, Status.BROKER_UNAVAILABLE, Status.RESTORING
"""Where a broker that cannot be reached may be why it takes so long."""


class WatchedTask(Struct):
    """One task, of either stage, in its present state. `moved_at`: when it last read or committed something."""

    state: TaskState
    moved_at: float
    remaining: int = 0
    lag: int = 0
    measured: bool = False
    caught_up: bool = False
    pause: tuple[Pause, str] | None = None
    paused_at: float = 0.0


def told_of(pauses: Mapping[TopicPartition, tuple[Pause, str]]) -> str:
    """Name partitions by what they wait for, each reason with what the first of them says; "" where none waits.

    What cannot be read is each one's own, and so is the command that passes over it.
    """
    waiting: dict[tuple[Pause, str], tuple[list[TopicPartition], str]] = {}
    for source, (why, message) in pauses.items():
        own = message if why is Pause.UNREADABLE else ""
        waiting.setdefault((why, own), ([], message))[0].append(source)
    return "; ".join(f"{named(sources)} waiting: {message}" for sources, message in waiting.values())
