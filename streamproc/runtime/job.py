"""What the tasks of one worker have in common."""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, field

from streamproc.codec.book import SchemaBook
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames
from streamproc.core.rules import Rules
from streamproc.core.windowstate import WindowRules
from streamproc.runtime.config import CommitSettings, DeadLetterSettings, TopicSettings
from streamproc.runtime.observer import Observer
from streamproc.runtime.ports import Kafka, Registry


class Job(Struct, frozen=True):
    """What the tasks of one worker have in common.

    `topics` with their prefix; `frames`: what outputs begin with; `clock` gives wall time in seconds.
    """

    kafka: Kafka
    application_id: str
    topics: TopicSettings
    rules: Rules
    windows: WindowRules
    commit: CommitSettings
    max_record_bytes: int
    book: SchemaBook
    observer: Observer
    frames: Frames = SINGLE_OBJECTS
    registry: Registry | None = None
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    clock: Callable[[], float] = time.time
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held for one stretch of CPU time, so that heartbeats come in between however many partitions have work."""
