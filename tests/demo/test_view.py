"""What the demo shows: what the service is for, in the terminal that there is."""

import io
import itertools
import json
import logging
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from streamproc.core.alerts import Alert, AlertState, Severity
from streamproc.core.model import Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.demo import panels, view
from streamproc.demo.board import Board
from streamproc.demo.figures import OpenRuns, WaitingRun
from streamproc.demo.topics import ShownTransition

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
URL = "http://127.0.0.1:8080/metrics"
NARROW, USUAL, WIDE, WIDEST = (60, 20), (80, 24), (120, 40), (200, 50)
SIZES = (NARROW, USUAL, (80, 50), (100, 30), WIDE, WIDEST)


def change(seconds=0, run_id="run_1", start="queued", to="in_progress", expected=True):
    in_from_ms = None if start is None else 1_500
    return ShownTransition(NOON + timedelta(seconds=seconds), run_id, start, to, in_from_ms, expected, "gpt-4o")


def alert(seconds=0, state="firing", kind="stuck_queued", severity="warning", **about):
    decided_at = int(NOON.timestamp() + seconds) * 1000
    fixed = ("id", kind, Severity(severity), AlertState(state), 0, decided_at, "9 of 24 runs failed")
    return Alert(*fixed, **(about or {"run_id": "run_stuck"}))


@pytest.fixture
def board():
    """A board with large figures everywhere."""
    board = Board("127.0.0.1:31999", clock=lambda: 0.0)
    figures = board.figures
    board.metrics_url, board.phase, board.events_per_s = URL, "Ctrl-C ends it and checks the figures", 12_345.6
    board.tokens_per_s, board.failure_rate = 98_765.4, 0.123
    board.sent.update({"event": 9_876_543})
    figures.events, figures.transitions, figures.commits = 8_765_432, 7_654_321, 654_321
    figures.verdicts.update(dict.fromkeys(Verdict, 1_234_567))
    figures.rejected.update({"unknown_schema": 54_321, "bad_framing": 4_321, "bad_time": 3, "bad_status": 2, "x": 1})
    figures.tokens.update(prompt=87_654_321, completion=7_654_123)
    figures.alerts_by.update({("stuck_queued", "firing"): 45, ("stuck_queued", "resolved"): 3})
    figures._runs["run-events", 0] = Counter(dict.fromkeys(ASSISTANTS.statuses, 123_456), expired=1)
    figures._lags["run-events", 0] = 98_765
    over = WaitingRun("run_over", "requires_action", 52_000, 20_000, -32_000, is_told=True)
    others = [
        WaitingRun(f"run_{number:024}", "in_progress", 9_000, 20_000, 11_000, is_told=False) for number in range(49)
    ]
    board.open_runs = OpenRuns(51_234, 41, (over, *others))
    board.saw([change(number, f"run_{number:024}", "requires_action", expected=number % 2) for number in range(60)])
    failing = [alert(number, kind="failure_rate", model="ft:gpt-3.5-turbo-0125:acme:triage:9") for number in range(60)]
    board.heard([alert(61), *failing])
    return board


def shown(board, size=USUAL):
    width, height = size
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
    console.print(view.render(board, ASSISTANTS, width, height), height=height)
    return console


def text(board, size=USUAL):
    return shown(board, size).export_text(clear=False)


def style_of(board, row, size=USUAL):
    """Return how a row of the first panels is written."""
    found = re.search(rf"(\x1b\[[\d;]+m){row}", shown(board, size).export_text(styles=True))
    return "" if found is None else found[1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("logged", ["", "warning " + "y" * 200])
def test_fills_the_terminal_that_there_is(board, size, logged):
    board.log.extend([logged] if logged else [])
    lines = text(board, size).splitlines()
    assert (max(map(len, lines)), len(lines)) == size
    assert logged[:20] in lines[-1]
    assert "after 1.5 s" in lines[-2 - bool(logged)], "the last list reaches down to the footer"


@pytest.mark.parametrize("size", SIZES)
def test_fits_empty_too(size):
    lines = text(Board("127.0.0.1:31999"), size).splitlines()
    assert (max(map(len, lines)), len(lines)) == size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("logged", ["", "warning"])
def test_every_panel_has_a_line_and_each_row_is_one(board, size, logged):
    """Rule: stuck runs, alerts, tokens, failure rate, states at every size; fewer rows of each rather than none."""
    board.log.extend([logged] if logged else [])
    found = text(board, size)
    for first in (
        *("events in +8", "queued +123,456", "failed.* 12.3%", "tokens/s +98,765"),
        r"run_over +requires_action +52 s ",
        "warning +stuck_queued run_stuck",
        r"run_0\S+ +requires_action → in_progress",
    ):
        assert re.search(first, found), first
    below = found[found.index("Open runs") :].splitlines()[1:]
    runs = list(itertools.takewhile(lambda row: "Last " not in row, below))
    assert all(row.startswith(" run_") for row in runs)
    changes = found[found.index("Last transitions") :].splitlines()[1 : -1 - bool(logged)]
    assert all(row.rstrip().endswith("after 1.5 s") for row in changes)


@pytest.mark.parametrize("size", SIZES)
def test_no_number_is_cut(board, size):
    """Rule: of an id or a name the end may be missing, of a figure or an address nothing."""
    board.console_url = "http://127.0.0.1:8081/"
    board.log.append("warning the console has ended")
    for row in text(board, size).splitlines():
        assert not re.search(r"(?<![\w.:-])[\d,.]+…", row), row
    assert board.console_url in text(board, size)


@pytest.mark.parametrize("size", [(59, 19), (40, 10), (20, 5), (5, 2)])
def test_a_smaller_terminal_is_no_error(board, size):
    assert len(text(board, size).splitlines()) == size[1]


EVERYWHERE = (
    "8,765,432",  # events in
    "12,346",  # a second
    "1,111,111",  # lag
    *Verdict,
    "58,648",  # rejected
    *(f"{status} +123,456 " for status in ASSISTANTS.statuses if status != "expired"),
    "expired +123,457 ",
    "98,765",  # tokens a second
    "12.3%",  # failed in the last minute
    "41",  # past a limit
    "42",  # alerts that fire
    "run_over +requires_action +52 s .*! 32 s over",
    "warning +stuck_queued run_stuck",
    "requires_action → in_progress ! after 1.5 s|requires_action → in_progress ! gpt-4o +after 1.5 s",
)
USUALLY = ("51,234", "87,654,321", "7,654,123", "654,321", URL, "52 s of 20 s", "9 of 24 runs failed: ft:gpt")
WIDELY = (
    "9,876,543",
    "7,654,321",
    "others",
    "gpt-4o",
    "in_progress +9 s of 20 s +11 s left",
)


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (NARROW, EVERYWHERE),
        (USUAL, (*EVERYWHERE, *USUALLY)),
        (WIDE, (*EVERYWHERE, *USUALLY, *WIDELY)),
        (WIDEST, (*EVERYWHERE, *USUALLY, *WIDELY)),
    ],
)
def test_shows_whole_figures_and_more_of_them_where_there_is_room(board, size, parts):
    found = text(board, size)
    assert [part for part in parts if not re.search(part, found)] == []


def test_a_larger_terminal_shows_more_transitions_and_runs(board):
    counts = [text(board, size).count("→") for size in (USUAL, WIDE, WIDEST)]
    assert counts == sorted(set(counts))
    assert counts[1] >= 10


@pytest.mark.parametrize("row", ["rejected", "past a limit", "alerts firing"])
def test_what_is_not_wrong_is_not_red(board, row):
    """Rule: zero is dim; whatever is wrong is red, and says so by a figure or a word as well."""
    assert "31" in style_of(board, row)
    assert "31" not in style_of(Board(""), row)


def test_a_service_that_was_stopped_has_no_tasks_to_count(board):
    """Rule: the last picture does not say that nothing works, but that it is over."""
    assert re.search(r"tasks +0", text(board))
    board.is_stopped = True
    assert re.search(r"tasks +stopped", text(board))


def test_what_was_sent_and_is_in_no_commit_is_behind():
    """Rule: no lag of 0 while events are unread; a task knows of them only once it has fetched."""
    board = Board("")
    board.sent.update({"event": 463})
    assert board.behind == 463
    assert "lag 463" in view.line(board)
    board.figures.events, board.figures._lags["run-measurements", 0] = 460, 7
    assert board.behind == 7


def test_the_failure_rate_is_that_of_the_last_minute():
    seconds = 0.0
    board = Board("", failures=("failed", "expired"), clock=lambda: seconds)
    board.measure()
    assert board.failure_rate is None
    board.figures.ended.update(failed=3, expired=1, succeeded=4)
    board.measure()
    assert board.failure_rate == 0.5
    seconds = 50.0
    board.measure()
    board.figures.ended.update(succeeded=2)
    seconds = 100.0
    board.measure()
    assert board.failure_rate == 0.0


def test_addresses_are_links_the_console_first(board):
    """Rule: where there is a console it is what a newcomer opens."""
    assert f'href="{URL}"' in shown(board).export_html()
    board.console_url = "http://127.0.0.1:8081/"
    found = text(board)
    assert found.index(board.console_url) < found.index(URL)
    assert f'href="{board.console_url}"' in shown(board, NARROW).export_html()


def test_last_transitions_of_all_partitions_newest_first():
    board = Board("")
    board.saw([change(2, "run_c"), change(4, "run_e")])
    board.saw([change(3, "run_d", None, "queued"), change(1, "run_b")])
    found = text(board, WIDE)
    order = [found.index(run_id) for run_id in ("run_e", "run_d", "run_c", "run_b")]
    assert order == sorted(order)
    assert "new → queued" in found


def test_last_alerts_of_all_partitions_newest_first_each_with_what_it_is_about():
    board = Board("")
    board.heard([alert(1, "firing"), alert(3, "resolved")])
    board.heard([alert(2, kind="failure_rate", severity="critical", model="gpt-4o")])
    rows = [row.rstrip(" │") for row in text(board, WIDE).splitlines()]
    said = [re.sub(r".*\d\d:\d\d:\d\d ", "", row) for row in rows if re.search(r"\d\d:\d\d:\d\d", row)]
    assert said == [
        "resolved stuck_queued run_stuck",
        "critical 9 of 24 runs failed: gpt-4o",
        "warning  stuck_queued run_stuck",
    ]


def test_reasons_beyond_the_room_are_summed_up():
    reasons = Counter(a=9, b=5, c=3, d=2, e=1)
    assert panels.top(reasons, 3) == [("a", 9), ("b", 5), ("others", 6)]
    assert panels.top(reasons, 5) == reasons.most_common()


def test_bar_shows_what_is_there():
    ends = [panels.bar(count, 1_000, "red").end for count in (0, 1, 500, 1_000)]
    assert ends[0] == 0
    assert 0 < ends[1] < ends[2]
    assert ends[2:] == [500, 1_000]


def test_line_for_scripts(board):
    line = view.line(board)
    assert "\n" not in line
    for part in (
        "sent 9,876,543",
        "events in 8,765,432 (12,346/s)",
        "lag 1,111,111",
        "rejected 58,648",
        "failed 12.3%",
    ):
        assert part in line


def test_captured_log_lines_are_short_and_complete(capsys):
    board = Board("")
    root, before = logging.getLogger(), logging.getLogger().handlers
    try:
        board.capture_log()
        logging.getLogger("aiokafka.producer").error("retried by itself")
        logging.getLogger("streamproc").info("all is well")
        logging.getLogger("streamproc").warning("look %s", "here")
    finally:
        root.handlers = before
    assert list(board.log) == ["warning look here logger=streamproc"]
    assert capsys.readouterr() == ("", "")


def test_log_lines_of_several_lines_are_told_by_their_last():
    board = Board("")
    entry = {"level": "error", "event": "it broke", "timestamp": "t", "exception": "Traceback\n  ...\nValueError: no"}
    board.write(json.dumps(entry) + "\n")
    assert list(board.log) == ["error it broke exception=ValueError: no"]
