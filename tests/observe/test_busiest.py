"""Places go to the busiest: whoever takes them all first keeps none that others need more; and sums stay true."""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.profiles import ASSISTANTS
from streamproc.core.tally import Tally
from streamproc.observe.busiest import CANDIDATES, TURNS, Busiest
from streamproc.observe.config import MetricsSettings
from streamproc.observe.labels import Labels, Pairs, limited
from streamproc.observe.metrics import MetricsObserver
from tests.observe.reading import exposed, label_values, samples, value
from tests.observe.reports import ended, report
from tests.support.watched import watched_metrics

PLACES = 4
MINUTE_MS = 60_000


@dataclass
class Places:
    """Places as labels use them: a name takes a free one, and counts in any case."""

    busiest: Busiest[str] = field(default_factory=lambda: Busiest(PLACES))
    held: set[str] = field(default_factory=set)
    swapped: int = 0

    def count(self, name: str, amount: float = 1) -> None:
        if name not in self.held and self.busiest.has_room:
            self.busiest.take_place(name)
            self.held.add(name)
        self.busiest.add(name, amount)

    def turn(self, counts: dict[str, float]) -> None:
        for name, amount in counts.items():
            self.count(name, amount)
        for before, after in self.busiest.turn():
            self.held.remove(before)
            self.held.add(after)
            self.swapped += 1


REAL = {f"real-{number}": 50 + number for number in range(PLACES)}


def test_names_that_took_all_places_first_lose_them_to_busier_ones() -> None:
    places = Places()
    places.turn({f"first-{number}": 1 for number in range(PLACES)})
    for _ in range(TURNS + PLACES):
        places.turn(REAL)
    assert places.held == set(REAL)


def test_a_busy_moment_takes_no_place() -> None:
    """Rule: clearly busier, for several turns in a row."""
    places = Places()
    for _ in range(10):
        places.turn(REAL)
    for _ in range(TURNS - 1):
        places.turn({**REAL, "moment": 10_000})
    for _ in range(30):
        places.turn(REAL)
    assert places.held == set(REAL)


def test_names_that_are_about_as_busy_do_not_take_turns() -> None:
    """Rule: series do not flap."""
    places, rng = Places(), random.Random(3)
    for _ in range(300):
        places.turn({f"name-{number}": rng.randint(80, 120) for number in range(3 * PLACES)})
    assert places.swapped == 0


def test_holders_that_pause_for_an_hour_keep_their_places_against_a_trickle() -> None:
    places = Places()
    for _ in range(60):
        places.turn({name: 1_000 * amount for name, amount in REAL.items()})
    for _ in range(60):
        places.turn({f"trickle-{number}": 2 for number in range(20)})
    assert places.held == set(REAL)


def test_unique_names_however_many_take_no_place_and_no_memory() -> None:
    places = Places()
    for turn in range(20):
        counts = {f"unique-{turn}-{number}": 1.0 for number in range(5_000)}
        places.turn({**REAL, **counts} if turn == 0 else {**counts, **REAL})
        assert len(places.busiest) <= PLACES + 2 * CANDIDATES * PLACES
    assert places.held == set(REAL)
    assert places.swapped == 0


def test_the_busy_are_found_among_unique_names() -> None:
    """Rule: names that come once each do not push a frequent one out of what is remembered."""
    places, rng = Places(), random.Random(5)
    places.turn({f"first-{number}": 1 for number in range(PLACES)})
    for turn in range(TURNS + PLACES):
        stream = [f"unique-{turn}-{number}" for number in range(5_000)] + [*REAL] * 250
        rng.shuffle(stream)
        for name in stream:
            places.count(name)
        places.turn({})
    assert places.held == set(REAL)


def test_rotating_names_displace_nobody_who_is_as_busy() -> None:
    """Rule: a few names that take turns share what they do; none of them is busier than a holder for long."""
    places = Places()
    for turn in range(200):
        places.turn({**REAL, f"rotating-{turn % 40}": 150})
    assert places.held == set(REAL)


@given(st.lists(st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(0, 1_000), max_size=12), max_size=30))
def test_whatever_comes_each_place_has_one_holder_and_memory_is_bounded(turns: list[dict[str, int]]) -> None:
    places = Places()
    for counts in turns:
        places.turn(counts)
        assert len(places.held) <= PLACES
        assert len(places.busiest) <= PLACES + 2 * CANDIDATES * PLACES
        assert all(name in places.busiest for name in places.held)


@given(st.integers(0, 2**32))
def test_the_busiest_of_a_skewed_stream_end_up_with_the_places(seed: int) -> None:
    """Rule: names of which each is four times as busy as the next, in any order, with noise between them."""
    rng, places = random.Random(seed), Places()
    busy = {f"name-{number}": 4.0**number for number in range(9)}
    for turn in range(60):
        order = rng.sample([*busy], len(busy))
        noise = {f"noise-{turn}-{number}": 1.0 for number in range(100)}
        places.turn({**noise, **{name: busy[name] for name in order}})
    assert places.held == {f"name-{number}" for number in range(5, 9)}


def test_names_that_are_allowed_or_known_are_never_displaced() -> None:
    labels, free = limited(["allowed"], 20), limited([], 1)
    assert free["first"] == "first"
    for _ in range(50):
        for each in (labels, free):
            for name in ("busy", None, "", "unknown", "other"):
                each.count(name, 1_000)
            each.turn()
    assert labels.exported() == {"allowed", "unknown", "other"}
    assert free.exported() == {"busy", "unknown", "other"}
    assert (free[None], free[""], free["unknown"], free["first"]) == ("unknown", "unknown", "unknown", "other")


@pytest.mark.parametrize("odd", ['a"b', "a\nb", "ü", "x" * 101])
def test_a_name_that_is_not_plain_takes_no_place_however_busy(odd: str) -> None:
    labels = Labels({}, 1)
    for _ in range(20):
        labels.count(odd, 1_000)
        labels.turn()
    assert labels[odd] == "other"
    assert labels["plain"] == "plain"


def test_a_pair_goes_with_its_model_also_one_that_has_no_place_yet() -> None:
    pairs = Pairs(1)
    assert pairs["m", "a"] == ("m", "a")
    for _ in range(TURNS + 1):
        pairs.count(("m", "b"), 100)
    assert pairs.without(["m"], []) == [("m", "a")]
    for _ in range(TURNS + 1):
        assert pairs.turn() == []
    assert pairs.exported(["n"]) == {("n", "other")}


# What Prometheus sees of it


def minute(metrics: MetricsObserver, number: int, ends: dict[str, int]) -> None:
    """Report a minute in which so many runs ended, by model; an assistant is called as the model."""
    for name, count in ends.items():
        tally = ended([1_000] * count, "failed", name, name)
        tally.tokens[name, name, "prompt"] += count
        tally.spenders[name, name] += count
        metrics.committed(report(tally=tally, seen_at=number * MINUTE_MS))
    metrics.committed(report(tally=Tally(), seen_at=number * MINUTE_MS))


def test_a_model_that_loses_its_place_is_gone_and_counts_as_other_and_starts_anew() -> None:
    """Rule: no sum moves from one series to another; who comes back begins at 0."""
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_models=1, max_assistants=1, max_pairs=1))
    minute(metrics, 1, {"first": 5})
    for number in range(2, 9):
        minute(metrics, number, {"busy": 100})
    minute(metrics, 9, {"first": 7, "busy": 1})
    for name, label in (
        ("run_duration_seconds_count", "model"),
        ("runs_ended_total", "assistant"),
        ("run_tokens_total", "model"),
        ("run_tokens_total", "assistant"),
    ):
        assert "busy" in label_values(metrics, name, label)
        assert "first" not in label_values(metrics, name, label)
    before = value(metrics, "run_duration_seconds_count", outcome="failed", model="other")
    for number in range(10, 40):
        minute(metrics, number, {"first": 500})
    back = value(metrics, "run_duration_seconds_count", outcome="failed", model="first")
    after = value(metrics, "run_duration_seconds_count", outcome="failed", model="other")
    assert after >= before
    assert back + after - before == 500 * 30


COUNTED = {"streamproc_runs_ended_total", "streamproc_run_duration_seconds_count", "streamproc_run_tokens_total"}


@pytest.mark.parametrize("seed", range(3))
def test_no_series_goes_back_and_every_run_is_counted_once(seed: int) -> None:
    """Rule (rules.md 24): as Prometheus adds up increases, a series that is gone takes nothing along."""
    rng = random.Random(seed)
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_models=3, max_assistants=3, max_pairs=4))
    seen: dict[object, float] = {}
    ever: set[object] = set()
    increases: Counter[str] = Counter()
    total = 0
    for number in range(1, 31):
        busy = [f"name-{number // 10}-{each}" for each in range(3)]
        ends = {f"name-{rng.randrange(30)}": 1 for _ in range(6)} | {name: rng.randint(50, 100) for name in busy}
        minute(metrics, number, ends)
        total += sum(ends.values())
        now = {key: found for key, found in samples(exposed(metrics)).items() if key[0] in COUNTED}
        for key, found in now.items():
            assert found >= seen.get(key, 0)
            increases[key[0]] += found - seen.get(key, 0)
        seen = now
        ever |= seen.keys()
    assert increases == dict.fromkeys(COUNTED, total)
    assert ever - seen.keys(), "there were series that are gone"
