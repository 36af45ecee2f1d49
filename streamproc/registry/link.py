"""Connects the service with its registry: schemas for the book, ids for the output schemas."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from streamproc.awaiting import set_within
from streamproc.backoff import Backoff
from streamproc.codec.book import SchemaBook
from streamproc.codec.framing import Framing
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, WriterSchema
from streamproc.errors import RecordRejected, RegistryUnavailable
from streamproc.interrupts import Interrupted, unless_stopped
from streamproc.registry.client import RegistryClient
from streamproc.registry.config import RegistrySettings
from streamproc.registry.learner import Learner
from streamproc.registry.observer import RegistryObserver
from streamproc.registry.outputs import output_frames
from streamproc.runtime.config import TopicSettings

OUTPUTS = {
    "run_transition": "transitions",
    "run_verdict": "verdicts",
    "run_state": "state",
    "run_metrics": "metrics",
    "run_alert": "alerts",
    "run_instance": "instances",
}
"""The schemas that others read, with the settings of their topics. Internal topics need no registry."""


class RegistryLink:
    """The learner, and the framing headers of outputs (`frames`), valid once `is_ready` returned True.

    `topics`: names with their prefix.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        framing: Framing,
        topics: TopicSettings,
        client: RegistryClient,
        book: SchemaBook,
    ) -> None:
        self.frames: Frames = SINGLE_OBJECTS
        self._settings = settings
        self._framing = framing
        names = topics.by_role()
        self._subjects = {schema: names[role] for schema, role in OUTPUTS.items() if role in names}
        self._client = client

        compiling = asyncio.Lock()

        async def add(header: bytes, document: dict[str, Any] | list[Any], where: str) -> None:
            try:
                # In a thread, because a large schema takes 0.2 s; one at a time, or several would starve the loop.
                async with compiling:
                    schema = await asyncio.to_thread(WriterSchema, document, book.shape, header, where)
            except RecordRejected as error:
                raise RecordRejected(error.reason, f"{where}: {error}") from None
            book.learn(header, schema)

        self.learner = Learner(client, add, book.refuse)

    async def is_ready(self, blocked: Callable[[str], None], stop: asyncio.Event) -> bool:
        """Wait until the ids of the output schemas are known, if outputs contain ids; False where `stop` was set first.

        `blocked` gets the reason for waiting, and "" when it is over. Raises ConfigError where a schema is not
        registered, or refused.
        """
        if self._framing == "single_object":
            return not stop.is_set()
        backoff = Backoff()
        while not stop.is_set():
            asking = output_frames(self._client, self._subjects, self._settings.outputs)
            try:
                # A registry that hangs must not delay a stop.
                self.frames = await unless_stopped(stop, asking, "the registry told the ids of the output schemas")
            except Interrupted:
                break
            except RegistryUnavailable as error:
                blocked(f"waiting for the ids of the output schemas: {error}")
                await set_within(stop, max(backoff.failed(), error.retry_after_s or 0))
            else:
                blocked("")
                return True
        return False


@asynccontextmanager
async def registry_link(
    settings: RegistrySettings, framing: Framing, topics: TopicSettings, book: SchemaBook, observer: RegistryObserver
) -> AsyncIterator[RegistryLink | None]:
    """Connect to the registry for the length of the block; yields None where no registry is set."""
    if not settings.url:
        yield None
        return
    async with RegistryClient(settings, observer) as client:
        link = RegistryLink(settings, framing, topics, client, book)
        try:
            yield link
        finally:
            await link.learner.close()
