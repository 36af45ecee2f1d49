"""Strategies for what windows are made of: sums, measurements, marks, and the values of a window task's state."""

from hypothesis import strategies as st

from streamproc.core.alerts import Severity
from streamproc.core.failures import Failing
from streamproc.core.measure import BUCKETS, Histogram, Mark, Measurement, Totals
from streamproc.core.model import MAX_TIME_MS
from streamproc.core.windowstate import SILENCE_KEY, Key, Silence, SourceMark, Value, Window, WindowKey
from tests.support.runobjects import counts, names, texts

instants = st.integers(0, MAX_TIME_MS)
partitions = st.integers(0, 2**31 - 1)
by_name = st.dictionaries(texts, counts, max_size=3)
_few = st.integers(0, 2**59)
"""A histogram's count is the sum of its buckets."""
histograms = st.builds(Histogram, counts, st.dictionaries(st.sampled_from(BUCKETS), _few, max_size=3))
totals = st.builds(
    Totals,
    counts,
    counts,
    by_name,
    by_name,
    by_name,
    st.dictionaries(texts, histograms, max_size=2),
    histograms,
    histograms,
)
measurements = st.builds(Measurement, partitions, names, names, instants, totals)
marks = st.builds(Mark, partitions, instants, st.booleans(), instants, instants)

_window_keys = st.builds(WindowKey, names, names, st.integers(1, 86_400).map(lambda size: size * 1000), instants)
_severities = st.sampled_from(Severity)
_windows = st.builds(Window, totals, st.integers(-1, 2**31 - 1), counts)


@st.composite
def _failing(draw: st.DrawFn) -> tuple[Key, Value]:
    group, severity = (draw(names), draw(names)), draw(_severities)
    return (group, severity), Failing(*group, severity, draw(instants), draw(instants))


values: st.SearchStrategy[tuple[Key, Value]] = st.one_of(
    st.tuples(_window_keys, _windows),
    st.tuples(partitions, st.builds(SourceMark, instants, instants, instants)),
    _failing(),
    st.tuples(st.just(SILENCE_KEY), st.builds(Silence, instants)),
)
"""Keys of a window task's state with what they may hold."""
