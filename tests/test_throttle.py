"""The same thing is said at once, then once in a while, and no occurrence goes uncounted."""

from hypothesis import given
from hypothesis import strategies as st

from streamproc.throttle import Throttle

EVERY_S = 30


class Bench:
    """A throttle with a clock that the test sets."""

    def __init__(self, **settings):
        self.now = 0.0
        self.throttle = Throttle(EVERY_S, clock=lambda: self.now, **settings)

    def happens(self, key, times=1, *, at=None):
        """Return how often it is said to have happened; 0 where nothing is said."""
        self.now = self.now if at is None else at
        self.throttle.count(key, times)
        return self.throttle.due(key)


def test_the_first_is_said_at_once_and_the_next_after_a_while_with_all_in_between():
    bench = Bench()
    assert [bench.happens("a", at=at) for at in (0, 1, 29.9, 30, 31, 60)] == [1, 0, 0, 3, 0, 2]


def test_keys_are_told_apart():
    bench = Bench()
    assert [bench.happens(key) for key in ("a", "b", "a", "b")] == [1, 1, 0, 0]


def test_what_did_not_happen_since_is_not_said():
    bench = Bench()
    bench.happens("a")
    bench.now = 2 * EVERY_S
    assert (bench.throttle.due("a"), bench.throttle.due("a", at_once=True)) == (0, 0)


def test_what_is_said_at_once_is_not_said_again_for_a_while():
    """Whenever it was said last."""
    bench = Bench()
    bench.happens("a", 2)
    bench.happens("a", 3, at=10)
    assert list(bench.throttle.unsaid()) == ["a"]
    assert bench.throttle.due("a", at_once=True) == 3
    assert list(bench.throttle.unsaid()) == []
    assert [bench.happens("a", at=at) for at in (30, 40)] == [0, 2]


def test_what_was_forgotten_begins_anew():
    """Its count with it; the others stay."""
    bench = Bench()
    for key in "abab":
        bench.happens(key)
    bench.throttle.forget(lambda key: key == "a")
    assert list(bench.throttle.unsaid()) == ["b"]
    assert (bench.happens("a"), bench.happens("b")) == (1, 0)


def test_of_too_many_keys_the_one_that_was_said_longest_ago_is_forgotten():
    bench = Bench(max_keys=2)
    bench.happens("a", at=0)
    bench.happens("b", at=1)
    bench.happens("a", at=EVERY_S)  # Said again: now b is the oldest.
    bench.happens("c")
    assert len(bench.throttle) == 2
    assert (bench.happens("a"), bench.happens("c"), bench.happens("b")) == (0, 0, 1)
    for number in range(100):
        bench.happens(number)
    assert len(bench.throttle) == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.floats(0, 2 * EVERY_S), st.booleans())))
def test_every_occurrence_is_said_once_or_still_to_be_said(steps):
    """And two lines of a key are never closer together than EVERY_S, unless somebody wants it at once."""
    bench, happened, said, last = Bench(), dict.fromkeys("abc", 0), dict.fromkeys("abc", 0), {}
    for key, times, later, at_once in steps:
        bench.now += later
        happened[key] += times
        bench.throttle.count(key, times)
        if count := bench.throttle.due(key, at_once=at_once):
            assert at_once or bench.now - last.get(key, -EVERY_S) >= EVERY_S
            said[key] += count
            last[key] = bench.now
    for key in happened:
        said[key] += bench.throttle.due(key, at_once=True)
    assert said == happened
