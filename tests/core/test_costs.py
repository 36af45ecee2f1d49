"""What windows cost (rules.md 29), and the condition that it is over the budget (rules.md 20 and 21)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from streamproc.core.costs import ANY_MODEL, MILLION, CostRules, Prices
from streamproc.core.failures import FailureRules
from streamproc.core.measure import MAX_LONG, Measurement
from streamproc.core.windowstate import WindowRules
from tests.support.metrics_oracle import Said
from tests.support.sums import totals_from
from tests.support.windowing import MINUTE_MS, RULES, START_MS, Arrived, Windows, ended, mark, measured

PRICES = {"gpt-4o": {"prompt": 2_500_000, "completion": 10_000_000}}
COSTS = CostRules(budget=10 * MILLION, prices=PRICES)
DEFAULT = structs.replace(RULES, conditions=(FailureRules(min_ended=10), COSTS))
GRACE_MS = RULES.grace_ms
CHEAPER = {"gpt-4o": {"prompt": 1, "completion": 1}}


def _closes(minute: int) -> int:
    return (minute + 1) * MINUTE_MS + GRACE_MS


def _used(minute: int = 0, prompt: int = 0, completion: int = 0, **subject: str | None) -> Measurement:
    totals = totals_from(transitions={"completed": 1}, tokens={"prompt": prompt, "completion": completion})
    return measured(minute * MINUTE_MS, totals=totals, **subject)


def _spending(minute: int, times: int = 1, **subject: str | None) -> Measurement:
    """Return what costs so many times 2.50 and 10."""
    return _used(minute, prompt=MILLION * times, completion=MILLION * times, **subject)


def _windows(*arrivals: Arrived, costs: CostRules = COSTS) -> Windows:
    windows = Windows(structs.replace(DEFAULT, conditions=(costs,)))
    windows.commit(*arrivals)
    return windows


def _brief(windows: Windows) -> list[tuple[str, int]]:
    return [(alert.state, (alert.since - START_MS) // MINUTE_MS) for alert in windows.said]


def test_an_alert_says_who_spent_how_much_in_which_window() -> None:
    """And what the budget is."""
    windows = _windows(_spending(1), mark(_closes(1)))
    assert windows.said == [
        Said(
            alert_id=f'cost_over_budget:warning:["asst_1","gpt-4o"]:{START_MS + MINUTE_MS}',
            kind="cost_over_budget",
            severity="warning",
            state="firing",
            subject=(None, "asst_1", "gpt-4o"),
            status=None,
            since=START_MS + MINUTE_MS,
            deadline_at=None,
            ends_at=None,
            decided_at=START_MS + _closes(1),
            source=None,
        )
    ]
    assert windows.alerts[0].summary == (
        "assistant asst_1 spent 12.50 on gpt-4o in the 60 s from 2024-06-01T00:01:00Z (the budget is 10.00)"
    )


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        ({"prompt": 4_000_000}, None),
        ({"prompt": 4_000_001}, "spent 10.000003 on"),
        ({"completion": 1_000_000}, None),
        ({"completion": 1_000_001}, "spent 10.00001 on"),
        ({"prompt": 4, "completion": 1_000_000}, "spent 10.00001 on"),
        ({"prompt": MAX_LONG, "completion": MAX_LONG}, "spent 115292150460684.697588 on"),
    ],
)
def test_exactly_the_budget_is_within_it(tokens: dict[str, int], says: str | None) -> None:
    """rules.md 29: to the single token; what is shown is rounded up, so that it is above the budget."""
    alerts = _windows(_used(**tokens), mark(_closes(0))).alerts
    assert len(alerts) == (says is not None)
    assert says is None or says in alerts[0].summary


def test_it_resolves_with_the_next_window_that_is_within_the_budget() -> None:
    """Also with one in which nothing is spent, or that does not come about; what goes on says nothing again."""
    windows = _windows(_spending(0), _spending(1), _used(2, prompt=5), _spending(3), mark(_closes(4)))
    assert _brief(windows) == [("firing", 0), ("resolved", 0), ("firing", 3), ("resolved", 3)]
    assert [alert.ends_at for alert in windows.alerts if alert.ends_at] == [
        START_MS + 2 * MINUTE_MS,
        START_MS + 4 * MINUTE_MS,
    ]
    assert windows.alerts[1].summary == "the cost is within the budget"


def test_later_revisions_are_not_judged() -> None:
    """rules.md 20: neither to fire nor to resolve."""
    windows = _windows(_used(0, prompt=1), mark(_closes(0)))
    windows.commit(_spending(0, times=100))
    assert [closing.revision for closing in windows.closings] == [0, 1]
    assert windows.alerts == []


def test_what_fires_survives_a_restart_beside_a_failure_rate() -> None:
    """rules.md 21: conditions of a group come and go apart from each other, each under an id of its own."""
    windows = Windows(DEFAULT)
    windows.commit(_spending(0), ended(0, failed=2, succeeded=8), mark(_closes(0)))
    windows.restart()
    windows.commit(_spending(1), ended(MINUTE_MS, succeeded=10), mark(_closes(1)))
    windows.restart()
    windows.commit(mark(_closes(2)))
    assert [(alert.kind, alert.state) for alert in windows.alerts] == [
        ("failure_rate", "firing"),
        ("cost_over_budget", "firing"),
        ("failure_rate", "resolved"),
        ("cost_over_budget", "resolved"),
    ]


def test_prices_are_those_in_force_when_the_window_closes() -> None:
    """rules.md 29: new ones neither fire nor resolve what has closed."""
    windows = _windows(_spending(0), mark(_closes(0)))
    windows.restart(structs.replace(DEFAULT, conditions=(structs.replace(COSTS, prices=CHEAPER),)))
    windows.commit(_spending(1))
    assert _brief(windows) == [("firing", 0)]
    windows.commit(mark(_closes(1)))
    assert _brief(windows) == [("firing", 0), ("resolved", 0)]
    windows.restart(structs.replace(DEFAULT, conditions=(structs.replace(COSTS, budget=1),)))
    windows.commit(_used(2, prompt=1), mark(_closes(2)))
    assert _brief(windows) == [("firing", 0), ("resolved", 0), ("firing", 2)]


def test_without_a_budget_nothing_fires_and_what_fired_resolves() -> None:
    """It is off."""
    windows = _windows(_spending(0), mark(_closes(0)))
    windows.restart(structs.replace(DEFAULT, conditions=(FailureRules(),)))
    windows.commit(_spending(1), mark(_closes(1)))
    assert _brief(windows) == [("firing", 0), ("resolved", 0)]


@pytest.mark.parametrize("model", ["o3", None, "", ANY_MODEL])
def test_a_model_without_a_price_has_that_of_any(model: str | None) -> None:
    """So does a run that names none."""
    prices: Mapping[str, Prices] = {**PRICES, ANY_MODEL: {"prompt": 20 * MILLION, "completion": 0}}
    windows = _windows(
        _used(prompt=MILLION, model=model), mark(_closes(0)), costs=structs.replace(COSTS, prices=prices)
    )
    assert _brief(windows) == [("firing", 0)]
    assert f"spent 20.00 on {'an unnamed model' if model is None else model} in" in windows.alerts[0].summary


def test_tokens_without_a_price_cost_nothing_and_their_windows_are_counted() -> None:
    """rules.md 20: nobody takes them for free unnoticed; a window without tokens is nothing to tell of."""
    windows = _windows(_spending(0, model="o3"), _spending(0, model=None), measured(model="o4"), _spending(0))
    out = windows.commit(mark(_closes(0)))
    assert out.unjudged == {"cost_over_budget": 2}
    assert [alert.model for alert in out.alerts] == ["gpt-4o"]


def test_a_model_that_costs_nothing_is_no_model_without_a_price() -> None:
    """0 is a price."""
    costs = structs.replace(COSTS, prices={ANY_MODEL: {"prompt": 0, "completion": 0}})
    out = _windows(_spending(0), costs=costs).commit(mark(_closes(0)))
    assert (out.unjudged, out.alerts) == ({}, [])


def test_runs_without_an_assistant_have_a_budget_too() -> None:
    """As they have windows."""
    (alert,) = _windows(_spending(0, assistant=None), mark(_closes(0))).alerts
    assert alert.summary.startswith("runs without an assistant spent 12.50 on gpt-4o in")


_tokens = st.integers(0, 3_000_000)
_spent = st.tuples(st.integers(0, 5), st.sampled_from(("a", "b")), st.sampled_from(("gpt-4o", "o3")), _tokens, _tokens)
_amounts = st.integers(0, 20 * MILLION)
_prices = st.fixed_dictionaries({"prompt": _amounts, "completion": _amounts})
_price_lists = st.dictionaries(st.sampled_from(("gpt-4o", "o3", ANY_MODEL)), _prices)


@given(
    st.lists(_spent, max_size=20).flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))),
    _price_lists,
    st.integers(1, 30 * MILLION),
    st.lists(st.integers(0, 20), max_size=3),
)
def test_alerts_are_those_of_one_pass_over_exact_sums(
    found: tuple[Sequence[tuple[int, str, str, int, int]], Sequence[tuple[int, str, str, int, int]]],
    prices: Mapping[str, Prices],
    budget: int,
    cuts: list[int],
) -> None:
    """Whatever the order, however commits are cut or aborted: each window judged once, by its whole sum."""
    spent, shuffled = found
    rules: WindowRules = structs.replace(RULES, conditions=(CostRules(budget, prices),))
    windows = Windows(rules)
    places = [0, *sorted(cuts), len(shuffled)]
    for start, end in pairwise(places):
        part = [_used(minute, p, c, assistant=a, model=m) for minute, a, m, p, c in shuffled[start:end]]
        windows.attempt(*part, mark(_closes(9)))
        windows.commit(*part)
        windows.restart()
    windows.commit(mark(_closes(9)))
    assert sorted((said.subject[1:], said.state, said.since) for said in windows.said) == sorted(
        _one_pass(spent, prices, budget)
    )


def _one_pass(
    spent: Sequence[tuple[int, str, str, int, int]], prices: Mapping[str, Prices], budget: int
) -> list[tuple[tuple[str, str], str, int]]:
    """Return what fires and resolves, by whom and since when, by exact fractions."""
    costs: dict[tuple[str, str], dict[int, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for minute, assistant, model, prompt, completion in spent:
        price = prices.get(model, prices.get(ANY_MODEL, {"prompt": 0, "completion": 0}))
        cost = Fraction(prompt * price["prompt"] + completion * price["completion"], MILLION)
        costs[assistant, model][minute] += cost
    told = []
    for group, by_minute in costs.items():
        since = None
        for minute in range(8):
            is_over = by_minute.get(minute, Fraction()) > budget
            if is_over and since is None:
                since = START_MS + minute * MINUTE_MS
                told.append((group, "firing", since))
            elif not is_over and since is not None:
                told.append((group, "resolved", since))
                since = None
    return told
