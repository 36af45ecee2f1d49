"""Runs as the topics have them now: their latest states, and what became of one, event by event. Without a group."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from heapq import nsmallest
from typing import Any, NamedTuple

from msgspec.structs import asdict

from streamproc.codec.arrival import Arrival
from streamproc.codec.runstate import decode_runs
from streamproc.core.calendar import NEVER
from streamproc.core.deadlines import Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Run
from streamproc.core.shape import TOKENS
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.records.kinds import KINDS, document, is_of
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Kafka, TopicPartition, Unreadable
from streamproc.runtime.reading import read_all
from streamproc.runtime.topics import partitions_of

HISTORY = {"transitions": "occurred_at", "verdicts": "occurred_at", "alerts": "decided_at"}
"""What tells of a run's past, and when that was."""


class Wanted(NamedTuple):
    """Which runs. Empty, or None: any. `since_ms`: only those that have been in their status since then at least.

    `limit`: so many of them, None: all.
    """

    statuses: frozenset[str] = frozenset()
    assistant: str | None = None
    model: str | None = None
    since_ms: int | None = None
    limit: int | None = None

    def takes(self, run: Run) -> bool:
        """Tell whether a run is one of them."""
        return (
            (not self.statuses or run.status in self.statuses)
            and self.assistant in (None, run.assistant_id)
            and self.model in (None, run.model)
            and (self.since_ms is None or run.status_since <= self.since_ms)
        )


class RunContext(NamedTuple):
    """What a run's state is said with: the input topic, the partition, and the limits that hold."""

    topic: str
    deadlines: Deadlines
    profile: Profile

    def state(self, run: Run, partition: int) -> dict[str, Any]:
        """Return a state by the names of RunState, without the event; with its deadlines in milliseconds."""
        said = asdict(run)
        del said["event"]
        offset, usage = said.pop("offset"), said.pop("usage")
        limit, expiry = self.deadlines.ends(run, self.profile)
        return {
            **said,
            "usage": None if usage is None else dict(zip(TOKENS, usage, strict=True)),
            "source_topic": self.topic,
            "source_partition": partition,
            "source_offset": offset,
            "deadline_at": None if limit == NEVER else limit,
            "overdue_at": None if expiry == NEVER else expiry,
        }


class Story(NamedTuple):
    """Of one run: its state, None where it is forgotten, and what happened, in the order of time.

    `gaps`: what could not be read of that, and why.
    """

    state: dict[str, Any] | None
    history: list[dict[str, Any]]
    gaps: list[str]


async def list_runs(
    kafka: Kafka, topics: TopicSettings, place: RunContext, wanted: Wanted
) -> tuple[list[dict[str, Any]], int]:
    """Return the states of the first runs that are wanted, and how many are: first the longest in their status.

    Raises ConfigError where there is no topic, or a state that cannot be read; BrokerUnavailable.
    """
    found: list[tuple[int, str, int, Run]] = []

    async def scan(partition: int) -> None:
        kept: dict[str, Run] = {}
        async for records in read_all(kafka, TopicPartition(topics.state, partition)):
            for run_id, run in decode_runs(records):
                kept.pop(run_id, None)
                if run is not None and wanted.takes(run):
                    run.event = b""  # The most of it, and not shown.
                    kept[run_id] = run
        found.extend((run.status_since, run_id, partition, run) for run_id, run in kept.items())

    await _everywhere(kafka, topics.state, scan)
    # No two are equal up to the partition, so runs are not compared.
    first = sorted(found) if wanted.limit is None else nsmallest(wanted.limit, found)
    return [place.state(run, partition) for _, _, partition, run in first], len(found)


async def story(kafka: Kafka, topics: TopicSettings, place: RunContext, run_id: str) -> Story:
    """Return what the topics tell of a run; raises ConfigError where they tell nothing, and as `list_runs`."""
    states: list[tuple[int, Arrival]] = []

    async def scan(partition: int) -> None:
        of_run = [record async for record in _of_run(kafka, TopicPartition(topics.state, partition), run_id)]
        states.extend((partition, record) for record in of_run[-1:])

    await _everywhere(kafka, topics.state, scan)
    history, gaps = await _history(kafka, topics, run_id)
    found = [(partition, run) for partition, record in states for _, run in decode_runs([record]) if run is not None]
    if not states and not history:
        raise ConfigError(
            f"no topic tells of {run_id}: it is not known yet (`streamproc offsets show` says how far the service is), "
            "or was forgotten long ago"
        )
    # On two partitions where its events were not keyed (rules.md 1): the one that was heard of last.
    latest = max(found, key=lambda each: each[1].status_since, default=None)
    return Story(None if latest is None else place.state(latest[1], latest[0]), history, gaps)


async def _history(kafka: Kafka, topics: TopicSettings, run_id: str) -> tuple[list[dict[str, Any]], list[str]]:
    history: list[dict[str, Any]] = []
    gaps: list[str] = []

    async def gather(kind: str, at: str, topic: str, partition: int) -> None:
        async for record in _of_run(kafka, TopicPartition(topic, partition), run_id):
            said = document(KINDS[kind], topic, partition, record)
            history.append({"what": kind, "at": said.get(at, said["timestamp"]), **said})

    names = topics.by_role()
    for kind, at in HISTORY.items():
        if topic := names.get(KINDS[kind].role):
            try:
                await _everywhere(kafka, topic, partial(gather, kind, at, topic))
            except (BrokerUnavailable, ConfigError, Unreadable) as error:  # Who may read one may not read them all.
                gaps.append(f"{kind} are not all here: {error}")
    return sorted(history, key=lambda said: (said["at"], said.get("source_offset") or 0)), gaps


async def _of_run(kafka: Kafka, place: TopicPartition, run_id: str) -> AsyncIterator[Arrival]:
    async for records in read_all(kafka, place):
        for record in records:
            if is_of(record, run_id):
                yield record


async def _everywhere(kafka: Kafka, topic: str, work: Callable[[int], Awaitable[None]]) -> None:
    """Do something with each partition of a topic, all at the same time."""
    await asyncio.gather(*map(work, range(await partitions_of(kafka, topic))))
