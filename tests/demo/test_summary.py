"""The summary: adds up when everything agrees, and says what does not."""

import io
import re
from collections import Counter
from itertools import pairwise

import pytest
from rich.console import Console

from streamproc.core.model import Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.demo.board import Board
from streamproc.demo.figures import Figures, OpenRuns
from streamproc.demo.summary import DemoSummary, findings
from streamproc.demo.topics import TopicCounts
from streamproc.runtime.config import TopicSettings

HELD = TopicCounts(events=1_010, dead_letters=6, transitions=900, verdicts=104, runs=300, alerts=5, metrics=12)


def summary(
    *, sent=1_010, events=1_010, applied=950, rejected=6, transitions=900, runs=300, failures=0, alerts=5, held=HELD
):
    figures = Figures()
    figures.alerts, figures.revisions = alerts, 12
    figures.events, figures.transitions, figures.failures = events, transitions, failures
    figures.verdicts.update({Verdict.APPLIED: applied, Verdict.DUPLICATE: 40, Verdict.STALE: 13, Verdict.ILLEGAL: 1})
    figures.rejected.update({"empty_value": rejected})
    figures._runs["run-events", 0] = Counter(queued=runs)
    return DemoSummary(sent, figures, held, TopicSettings())


def test_the_summary_for_programs_says_whether_it_adds_up():
    found = summary(rejected=7).document()
    assert found["adds_up"] is False
    [rejected] = [figure for figure in found["figures"] if figure["name"] == "rejected"]
    assert rejected == {"name": "rejected", "counted": 7, "topic": "run-events-dlq", "in_topic": 6}
    assert sum(found["verdicts_and_rejected"].values()) == 950 + 40 + 13 + 1 + 7


def text(found, width=80):
    return text_of(found.render(width), width)


def text_of(part, width=80):
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(part)
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
    unused = DemoSummary(1_010, found._figures, HELD._replace(verdicts=0), TopicSettings(verdicts=None))
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


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("times", [1, 1_000, 100_000])
def test_each_figure_has_its_line_whole_at_any_width(width, times):
    """Rule: from 60 columns on nothing wraps and no figure is cut; the topics' names need 80."""
    held = TopicCounts(*(count * times for count in HELD))
    found = summary(sent=1_010 * times, events=1_010 * times, applied=950 * times, held=held)
    shown = text(found, width)
    assert max(map(len, shown.splitlines())) <= width
    for line in found.lines:
        topic = f" +{line.topic}" if width >= 80 else ""
        assert re.search(
            rf"^{line.name} +{line.counted:,} +{line.in_topic:,}{topic} +(agree|DIFFER) *$", shown, re.MULTILINE
        )
    assert all(re.search(rf"(^|[ =+]){name}\b", shown) for name in found.parts)
    assert f"{950 * times:,}" in shown


def test_where_the_equation_is_too_wide_its_parts_stand_below_each_other():
    shown = text(summary(sent=1_010_000_000, events=1_010_000_000, applied=950_000_000), 60)
    rows = [" ".join(row.split()) for row in shown.splitlines() if row[:2] in ("= ", "+ ")]
    assert rows == ["= applied 950,000,000", "+ duplicate 40", "+ stale 13", "+ illegal 1", "+ rejected 6"]


def test_what_was_found_is_told_in_figures():
    """Rule: runs by status, what is past a limit, tokens, alerts, why events were rejected; none is a word."""
    board = Board("")
    empty = findings(board)
    assert empty.count("none") == 4
    board.figures._runs["run-events", 0] = Counter(queued=30, failed=4)
    board.figures.tokens.update(prompt=1_234)
    board.figures.alerts_by.update({("stuck_queued", "firing"): 3, ("stuck_queued", "resolved"): 1})
    board.figures.rejected.update(empty_value=2)
    board.open_runs = OpenRuns(30, 2)
    rows = [" ".join(row.split()) for row in findings(board).splitlines()]
    assert rows == [
        "runs 30 queued, 4 failed",
        "open runs 30, 2 of them past a limit",
        "tokens 1,234 prompt",
        "alerts 3 stuck_queued; 2 still firing",
        "rejected 2 empty_value",
    ]


def test_what_was_found_wraps_between_figures_only():
    """Rule: a figure stands on the line of what it counts."""
    board = Board("")
    board.figures._runs["run-events", 0] = Counter(dict.fromkeys(ASSISTANTS.statuses, 123_456))
    found = findings(board, 60)
    assert max(map(len, found.splitlines())) <= 60
    assert all(f"123,456 {status}" in found for status in ASSISTANTS.statuses)


def lines_in_pairs(shown):
    return pairwise(shown.splitlines())
