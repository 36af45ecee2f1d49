"""Reads runs from the topics, without a consumer group: the latest states, and the history of one run."""

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
"""The topics with a run's history, and their fields with the time."""


class Wanted(NamedTuple):
    """A filter of runs. Empty, or None: any. `since_ms`: only runs in their status at least since then.

    `limit`: the most runs to return, None: all.
    """

    statuses: frozenset[str] = frozenset()
    assistant: str | None = None
    model: str | None = None
    since_ms: int | None = None
    limit: int | None = None

    def admits(self, run: Run) -> bool:
        """Tell whether a run passes the filter."""
        return (
            (not self.statuses or run.status in self.statuses)
            and self.assistant in (None, run.assistant_id)
            and self.model in (None, run.model)
            and (self.since_ms is None or run.status_since <= self.since_ms)
        )


class RunContext(NamedTuple):
    """What is needed to describe a run's state: the input topic, the deadlines, the profile."""

    topic: str
    deadlines: Deadlines
    profile: Profile

    def state(self, run: Run, partition: int) -> dict[str, Any]:
        """Return the fields of RunState without the event, and the run's deadlines in milliseconds."""
        fields = asdict(run)
        del fields["event"]
        offset, usage = fields.pop("offset"), fields.pop("usage")
        limit, expiry = self.deadlines.ends(run, self.profile)
        return {
            **fields,
            "usage": None if usage is None else dict(zip(TOKENS, usage, strict=True)),
            "source_topic": self.topic,
            "source_partition": partition,
            "source_offset": offset,
            "deadline_at": None if limit == NEVER else limit,
            "overdue_at": None if expiry == NEVER else expiry,
        }


class Story(NamedTuple):
    """The story of one run: its state, None where it is forgotten, and its history in the order of time.

    `gaps`: which parts could not be read, and why.
    """

    state: dict[str, Any] | None
    history: list[dict[str, Any]]
    gaps: list[str]


async def list_runs(
    kafka: Kafka, topics: TopicSettings, context: RunContext, wanted: Wanted
) -> tuple[list[dict[str, Any]], int]:
    """Return the states of the first runs that pass the filter, and the count of all that do.

    Runs that have been in their status longest come first. Raises ConfigError where a topic does not exist or a state
    cannot be read; BrokerUnavailable.
    """
    matches: list[tuple[int, str, int, Run]] = []

    async def scan(partition: int) -> None:
        states: dict[str, Run] = {}
        async for records in read_all(kafka, TopicPartition(topics.state, partition)):
            for run_id, run in decode_runs(records):
                states.pop(run_id, None)
                if run is not None and wanted.admits(run):
                    run.event = b""  # It takes most of the memory, and is not shown.
                    states[run_id] = run
        matches.extend((run.status_since, run_id, partition, run) for run_id, run in states.items())

    await _everywhere(kafka, topics.state, scan)
    # No two tuples have the same run id and partition, so runs are never compared.
    first = sorted(matches) if wanted.limit is None else nsmallest(wanted.limit, matches)
    return [context.state(run, partition) for _, _, partition, run in first], len(matches)


async def story(kafka: Kafka, topics: TopicSettings, context: RunContext, run_id: str) -> Story:
    """Return the story of a run; raises ConfigError where no topic has anything about it, and as `list_runs`."""
    states: list[tuple[int, Arrival]] = []

    async def scan(partition: int) -> None:
        of_run = [record async for record in _of_run(kafka, TopicPartition(topics.state, partition), run_id)]
        states.extend((partition, record) for record in of_run[-1:])

    await _everywhere(kafka, topics.state, scan)
    history, gaps = await _history(kafka, topics, run_id)
    runs = [(partition, run) for partition, record in states for _, run in decode_runs([record]) if run is not None]
    if not states and not history:
        raise ConfigError(
            f"no topic tells of {run_id}: it is not known yet (`streamproc offsets show` says how far the service is), "
            "or was forgotten long ago"
        )
    # A run whose events had no keys may be on two partitions (rules.md 1): the later status counts.
    latest = max(runs, key=lambda pair: pair[1].status_since, default=None)
    return Story(None if latest is None else context.state(latest[1], latest[0]), history, gaps)


async def _history(kafka: Kafka, topics: TopicSettings, run_id: str) -> tuple[list[dict[str, Any]], list[str]]:
    history: list[dict[str, Any]] = []
    gaps: list[str] = []

    async def gather(kind: str, at: str, topic: str, partition: int) -> None:
        async for record in _of_run(kafka, TopicPartition(topic, partition), run_id):
            fields = document(KINDS[kind], topic, partition, record)
            history.append({"what": kind, "at": fields.get(at, fields["timestamp"]), **fields})

    names = topics.by_role()
    for kind, at in HISTORY.items():
        if topic := names.get(KINDS[kind].role):
            try:
                await _everywhere(kafka, topic, partial(gather, kind, at, topic))
            except (BrokerUnavailable, ConfigError, Unreadable) as error:  # The user may lack rights for this topic.
                gaps.append(f"{kind} are not all here: {error}")
    return sorted(history, key=lambda fields: (fields["at"], fields.get("source_offset") or 0)), gaps


async def _of_run(kafka: Kafka, place: TopicPartition, run_id: str) -> AsyncIterator[Arrival]:
    async for records in read_all(kafka, place):
        for record in records:
            if is_of(record, run_id):
                yield record


async def _everywhere(kafka: Kafka, topic: str, work: Callable[[int], Awaitable[None]]) -> None:
    """Run `work` for all partitions of a topic concurrently."""
    await asyncio.gather(*map(work, range(await partitions_of(kafka, topic))))
