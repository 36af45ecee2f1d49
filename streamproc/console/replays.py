"""Sends dead letters back from the console, as `dlq replay` does; the log says who did."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

import structlog

from streamproc.console.answers.signals import Replay as Answer
from streamproc.console.reads import Actions, Changed, LetterFilter
from streamproc.dlq.choice import Choice, WrongFilter, reasons, schemas
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.planning import ReplayPlan, survey, terms_of
from streamproc.dlq.replaying import LetterReplay
from streamproc.dlq.showing import warnings
from streamproc.errors import ConfigError, StreamprocError
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Kafka

audit = structlog.get_logger("streamproc.console.audit")


class ReplayOutcome(StrEnum):
    """The outcome of a replay that was not a dry run."""

    SENT = "sent"
    CHANGED = "changed"
    FAILED = "failed"


class Counted:
    """`Actions` that are counted by outcome, in `outcomes`."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self.outcomes: Counter[ReplayOutcome] = Counter()

    async def replay(
        self,
        caller: str,
        wanted: LetterFilter,
        places: Sequence[tuple[int, int]],
        *,
        dry_run: bool,
        expected: int | None,
    ) -> Answer:
        """Do what the wrapped `Actions` does, and raise what it raises."""
        outcome = ReplayOutcome.FAILED
        try:
            answer = await self._actions.replay(caller, wanted, places, dry_run=dry_run, expected=expected)
            outcome = ReplayOutcome.SENT
            return answer
        except Changed:
            outcome = ReplayOutcome.CHANGED
            raise
        finally:
            if not dry_run:
                self.outcomes[outcome] += 1


class Replays:
    """`Actions`. `kafka`: with the transactional ids and the group of `dlq replay`."""

    def __init__(
        self, kafka: Kafka, topics: TopicSettings, limits: ReplayLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._limits = limits
        self._clock = clock

    async def replay(
        self,
        caller: str,
        wanted: LetterFilter,
        places: Sequence[tuple[int, int]],
        *,
        dry_run: bool,
        expected: int | None,
    ) -> Answer:
        """Send dead letters back, or count what would be sent.

        Raises ConfigError, BrokerUnavailable, TaskInvalid, Changed.
        """
        about = {"caller": caller, "letters": {**wanted._asdict(), "places": list(places)}}
        choice = _choice(wanted, places)
        if wanted.topic not in (None, self._topics.events):
            return Answer(dry_run=dry_run, to_replay=0, replayed=0, counts={}, warnings=[])
        terms = await terms_of(self._kafka, self._topics, choice, self._limits, int(self._clock() * 1_000))
        plan = await survey(self._kafka, terms)
        if dry_run:
            return _answer(plan, 0, is_dry=True)
        if plan.total != expected:
            raise Changed(plan.total)
        audit.info("dead letters are sent back", **about, count=plan.total)
        replay = LetterReplay(self._kafka, terms, plan, self._clock, lambda _: None)
        try:
            await replay.run()
        except StreamprocError as error:
            audit.warning("sending dead letters back has failed", **about, replayed=replay.replayed, error=str(error))
            raise
        audit.info("dead letters were sent back", **about, replayed=replay.replayed)
        return _answer(plan, replay.replayed, is_dry=False)


def _choice(wanted: LetterFilter, places: Sequence[tuple[int, int]]) -> Choice:
    """Return the choice of letters; raises ConfigError. A letter lies where its event lay (rules.md 1)."""
    try:
        return Choice(
            reasons=reasons([] if wanted.reason is None else [wanted.reason]),
            schemas=schemas([] if wanted.schema is None else [wanted.schema]),
            partitions=frozenset(() if wanted.partition is None else [wanted.partition]),
            places=frozenset(places),
        ).checked()
    except WrongFilter as error:
        raise ConfigError(str(error)) from None


def _answer(plan: ReplayPlan, replayed: int, *, is_dry: bool) -> Answer:
    counts: Counter[str] = Counter({verdict.value: count for verdict, count in plan.counts.items()})
    texts = list(warnings(plan.unmended, plan.nothing_at))
    return Answer(dry_run=is_dry, to_replay=plan.total, replayed=replayed, counts=dict(counts), warnings=texts)
