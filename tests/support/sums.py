"""Strategies for what windows are made of: sums, measurements, marks, and the values of a window task's state."""

from collections.abc import Iterable, Mapping

from hypothesis import strategies as st

from streamproc.core.alerts import AlertKind, Severity, Subject
from streamproc.core.conditions import Holding, HoldingKey
from streamproc.core.measure import (
    ACTION_WAIT,
    BUCKETS,
    COMPLETED,
    CREATED,
    QUEUE_WAIT,
    SUM_MS,
    TO,
    TOKENS,
    UNMEASURED,
    DurationNames,
    Mark,
    Measurement,
    Totals,
    run_durations,
)
from streamproc.core.model import MAX_TIME_MS
from streamproc.core.sources import NOT_HEARD, Sources
from streamproc.core.summary import Summary, summary_of
from streamproc.core.tally import Tally
from streamproc.core.windowstate import SILENCE_KEY, SOURCES_KEY, Key, Silence, Value, Window, WindowKey
from tests.support.runobjects import counts, names, texts

NONE: Mapping[str, int] = {}
NO_RUNS: Mapping[str, Iterable[int | None]] = {}


def totals_from(
    *,
    created: int = 0,
    completed: int = 0,
    transitions: Mapping[str, int] = NONE,
    errors: Mapping[str, int] = NONE,
    tokens: Mapping[str, int] = NONE,
    runs: Mapping[str, Iterable[int | None]] = NO_RUNS,
    queue_wait: Iterable[int] = (),
    action_wait: Iterable[int] = (),
) -> Totals:
    """Return sums as a fold makes them. `runs`: how long each took, by outcome; None: nobody knows."""
    totals = Totals(errors=dict(errors))
    named = {CREATED: created, COMPLETED: completed}
    named |= {TO + status: count for status, count in transitions.items()}
    named |= {TOKENS + kind: count for kind, count in tokens.items()}
    for name, count in named.items():
        if count:
            totals.add(name, count)
    timed = [(run_durations(outcome), durations) for outcome, durations in runs.items()]
    for kind, durations in (*timed, (QUEUE_WAIT, queue_wait), (ACTION_WAIT, action_wait)):
        for duration in durations:
            totals.took(kind, duration)
    return totals


def summary_of_all(tally: Tally) -> Summary:
    """Return everything that was measured."""
    total = Totals()
    for totals in tally.cells.values():
        total.merge(totals)
    return summary_of(total)


instants = st.integers(0, MAX_TIME_MS)
partitions = st.integers(0, 2**31 - 1)
by_name = st.dictionaries(texts, counts, max_size=3)
_some = st.integers(1, 2**59)
"""Of which sums are made: of buckets, of changes of status."""


def _durations(kind: st.SearchStrategy[DurationNames]) -> st.SearchStrategy[dict[str, int]]:
    rest = st.sampled_from((*BUCKETS, UNMEASURED, SUM_MS))
    name = st.tuples(kind, rest).map(lambda found: found[0].sum_ms.removesuffix(SUM_MS) + found[1])
    return st.dictionaries(name, _some, max_size=4)


totals = st.builds(
    lambda errors, *parts: Totals({name: count for part in parts for name, count in part.items()}, errors),
    by_name,
    st.dictionaries(st.sampled_from((CREATED, COMPLETED)), _some),
    st.dictionaries(texts.map(TO.__add__), _some, max_size=3),
    st.dictionaries(texts.map(TOKENS.__add__), _some, max_size=2),
    _durations(texts.map(run_durations)),
    _durations(st.sampled_from((QUEUE_WAIT, ACTION_WAIT))),
)
measurements = st.builds(Measurement, names, names, instants, totals)
marks = st.builds(Mark, partitions, instants, st.booleans(), instants, instants)

_window_keys = st.builds(WindowKey, names, names, st.integers(1, 86_400).map(lambda size: size * 1000), instants)
_severities = st.sampled_from(Severity)
_conditions = st.sampled_from([kind for kind in AlertKind if kind.subject is Subject.WINDOWS])
_windows = st.builds(Window, totals, st.integers(-1, 2**31 - 1), counts)


@st.composite
def _holding(draw: st.DrawFn) -> tuple[Key, Value]:
    key = HoldingKey(draw(_conditions), (draw(names), draw(names)), draw(_severities))
    return key, Holding(*key.group, key.severity, draw(instants), draw(instants))


@st.composite
def _sources(draw: st.DrawFn) -> Sources:
    found = draw(st.lists(st.tuples(st.just(NOT_HEARD) | instants, instants, instants), max_size=4))
    return Sources(*([each[place] for each in found] for place in range(3)))


values: st.SearchStrategy[tuple[Key, Value]] = st.one_of(
    st.tuples(_window_keys, _windows),
    st.tuples(st.just(SOURCES_KEY), _sources()),
    _holding(),
    st.tuples(st.just(SILENCE_KEY), st.builds(Silence, instants)),
)
"""Keys of a window task's state with what they may hold."""
