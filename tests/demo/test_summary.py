"""The summary: adds up when everything agrees, and says what does not."""

import io
from collections import Counter
from itertools import pairwise

import pytest
from rich.console import Console

from streamproc.core.model import Verdict
from streamproc.demo.figures import Figures
from streamproc.demo.summary import Summary
from streamproc.demo.topics import Held
from streamproc.runtime.config import TopicSettings

HELD = Held(events=1_010, dead_letters=6, transitions=900, verdicts=104, runs=300, alerts=5, metrics=12)


def summary(
    *, sent=1_010, events=1_010, applied=950, rejected=6, transitions=900, runs=300, failures=0, alerts=5, held=HELD
):
    figures = Figures()
    figures.alerts, figures.revisions = alerts, 12
    figures.events, figures.transitions, figures.failures = events, transitions, failures
    figures.verdicts.update({Verdict.APPLIED: applied, Verdict.DUPLICATE: 40, Verdict.STALE: 13, Verdict.ILLEGAL: 1})
    figures.rejected.update({"empty_value": rejected})
    figures._runs["run-events", 0] = Counter(queued=runs)
    return Summary(sent, figures, held, TopicSettings())


def text(found, width=80):
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(found.render())
    return console.export_text()


def test_adds_up():
    found = summary()
    assert found.adds_up
    shown = text(found)
    assert "It adds up" in shown
    assert "DIFFER" not in shown
    assert [line.topic for line in found.lines] == 3 * ["run-events"] + [
        "run-events-dlq",
        "run-transitions",
        "run-verdicts",
        "run-state",
        "run-alerts",
        "run-metrics",
    ]


def test_a_topic_that_is_not_used_is_not_shown():
    found = summary()
    unused = Summary(1_010, found._figures, HELD._replace(verdicts=0), TopicSettings(verdicts=None))
    assert unused.adds_up
    assert "run-verdicts" not in text(unused)


def test_parts_stand_under_their_names():
    names, counts = next(pair for pair in lines_in_pairs(text(summary())) if " = " in pair[0])
    assert " ".join(names.split()) == "events in = applied + duplicate + stale + illegal + rejected"
    assert " ".join(counts.split()) == "1,010 = 950 + 40 + 13 + 1 + 6"
    assert [at for at, sign in enumerate(names) if sign in "=+"] == [
        at for at, sign in enumerate(counts) if sign in "=+"
    ]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sent": 1_011}, {"sent by the source"}),
        ({"events": 1_009}, {"events in"}),
        ({"alerts": 4}, {"alerts"}),
        ({"applied": 951}, {"verdicts and rejected", "no transition"}),
        ({"rejected": 7, "applied": 949}, {"rejected", "no transition"}),
        ({"transitions": 899}, {"transitions", "no transition"}),
        ({"runs": 301}, {"live runs"}),
        ({"held": HELD._replace(events=1_009)}, {"sent by the source", "events in", "verdicts and rejected"}),
    ],
)
def test_one_record_too_many_or_too_few_is_told(changed, named):
    found = summary(**changed)
    assert not found.adds_up
    assert {line.name for line in found.lines if not line.agrees} == named
    shown = text(found, width=200)
    assert shown.count("DIFFER") == len(named)
    verdict = next(line for line in shown.splitlines() if "does NOT add up" in line)
    assert all(name in verdict for name in named)
    assert "transactions failed" not in verdict


def test_failed_transactions_are_named_as_a_possible_cause():
    assert "2 transactions failed" in text(summary(events=1_009, failures=2), width=200)


def test_fits_80_columns():
    millions = Held(*(count * 1_000_000 for count in HELD))
    assert max(map(len, text(summary(held=millions)).splitlines())) <= 80


def lines_in_pairs(shown):
    return pairwise(shown.splitlines())
