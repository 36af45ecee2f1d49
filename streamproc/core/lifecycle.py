"""Life cycles as tables: which changes of status are documented, which merely accepted, and which end a run.

A profile is data. A new producer is a new profile, not new code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from streamproc.core.model import Verdict
from streamproc.core.shape import Shape


class Move(NamedTuple):
    """The verdict on a change of status, and whether the life cycle documents that change."""

    verdict: Verdict
    expected: bool


DOCUMENTED = Move(Verdict.APPLIED, expected=True)
ACCEPTED = Move(Verdict.APPLIED, expected=False)
STALE = Move(Verdict.STALE, expected=False)
ILLEGAL = Move(Verdict.ILLEGAL, expected=False)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One producer's life cycle.

    `initial`: the statuses with which a run is expected to begin.
    `queued` and `running` are the active statuses between which a run's wait for its start is measured, in `waiting` it
    waits for somebody else. `outcomes` maps each terminal status to its outcome class; `ended_by` names the time, one
    of `shape.TIMES`, that ends it; `limits_s`: how long a run may stay in a status, in seconds, unless the settings say
    otherwise. `reopened`: for a terminal status, those with which a run begins again under its id, as a new attempt.
    `shape`: where the producer's object holds what is read; `schemas`: those that ship with streamproc.
    """

    name: str
    initial: frozenset[str]
    queued: frozenset[str]
    running: frozenset[str]
    waiting: frozenset[str]
    documented: Mapping[str, frozenset[str]]
    accepted: Mapping[str, frozenset[str]]
    outcomes: Mapping[str, str]
    ended_by: Mapping[str, str]
    limits_s: Mapping[str, int]
    shape: Shape
    schemas: tuple[str, ...] = ()
    reopened: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    moves: Mapping[str | None, Mapping[str, Move]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Unfold the tables into one look-up, so that the hot path has nothing to decide."""
        known = self.statuses
        moves = {start: {to: self._rule(start, to) for to in known} for start in known}
        fresh = {to: DOCUMENTED if to in self.initial else ACCEPTED for to in known}
        object.__setattr__(self, "moves", MappingProxyType({None: fresh, **moves}))

    @property
    def statuses(self) -> tuple[str, ...]:
        """Every status of the profile, open ones first."""
        return tuple(self.documented) + tuple(self.outcomes)

    def judge(self, start: str | None, to: str) -> Move:
        """Decide a change from `start` (None: a new run) to another status; total, for unknown statuses too."""
        try:
            return self.moves[start][to]
        except KeyError:
            return self._rule(start, to)

    def _rule(self, start: str | None, to: str) -> Move:
        """Rules 12 to 14 of rules.md, for two statuses that differ."""
        if start is not None and start in self.outcomes:
            if to in self.reopened.get(start, ()):
                return DOCUMENTED
            return ILLEGAL if to in self.outcomes else STALE
        if start is None:
            return DOCUMENTED if to in self.initial else ACCEPTED
        if to in self.documented.get(start, ()):
            return DOCUMENTED
        if to in self.outcomes or to in self.accepted.get(start, ()):
            return ACCEPTED
        both_known = start in self.documented and to in self.documented
        return STALE if both_known else ACCEPTED
