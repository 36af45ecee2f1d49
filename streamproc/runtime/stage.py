"""What a partition's task does with its records: the fold of runs, or the windows. The task itself is the same."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from streamproc.codec.arrival import Arrival
from streamproc.codec.encode import Source
from streamproc.core.model import Moment
from streamproc.runtime.observer import CommitReport, Held
from streamproc.runtime.ports import Outputs
from streamproc.runtime.position import Position


class Pending(NamedTuple):
    """A commit on its way: what it sends, the position it is committed with, and what to do once it is confirmed.

    `apply` takes it over into the state; `report` tells of it, given its duration and its latency in seconds.
    """

    outputs: Outputs
    position: Position
    apply: Callable[[], None]
    report: Callable[[float, float], CommitReport]


class Batch(Protocol):
    """Gathers one commit over one or more fetches, on top of a committed state that it never changes."""

    records: int
    first_timestamp: int
    last_timestamp: int

    def absorb(self, records: Sequence[Arrival], at: Moment) -> None:
        """Take records that follow on what was absorbed; raises ConfigError for one that cannot be processed at all."""

    def pass_time(self, at: Moment, *, read_all: bool) -> None:
        """Let the clock do its part; `read_all`: nothing is left before the last stable offset, as far as is known."""

    @property
    def is_full(self) -> bool:
        """Whether it should be committed, though more is at hand."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""

    def settle(self) -> None:
        """Take note, where there is nothing to commit, of what was looked at in vain."""

    def close(self, at: Moment) -> Pending:
        """Return the commit."""


State = TypeVar("State", bound=Held)


class Stage(Protocol[State]):
    """One input partition's part of a stage. `linger_s`: how long a commit waits for more to come."""

    source: Source
    state_topic: str
    partitions: int
    profile: str
    interval_s: float
    linger_s: float

    def fresh(self, stream_time: int) -> State:
        """Return an empty state, to be restored."""

    def load(self, state: State, records: Sequence[Arrival]) -> int:
        """Put records of the state topic into `state`; return the highest input offset that they came from, or -1."""

    def begin(self, state: State, position: Position) -> Batch:
        """Return a new commit on top of `state`."""
