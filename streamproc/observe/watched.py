"""The words that the probes have for the service, and for partitions that wait."""

from collections.abc import Mapping
from enum import StrEnum

from streamproc.observe.places import named
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskrecords import Waiting


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


def told_of(pauses: Mapping[TopicPartition, Waiting]) -> str:
    """Name partitions by what they wait for, each reason with what the first of them says; "" where none waits.

    What cannot be read is each one's own, and so is the command that passes over it.
    """
    waiting: dict[tuple[Pause, str], tuple[list[TopicPartition], str]] = {}
    for source, pause in pauses.items():
        own = pause.message if pause.why is Pause.UNREADABLE else ""
        waiting.setdefault((pause.why, own), ([], pause.message))[0].append(source)
    return "; ".join(f"{named(sources)} waiting: {message}" for sources, message in waiting.values())
