"""What the demo shows: everything that is asked of it, in 80 columns and 24 lines."""

import io
import json
import logging
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from streamproc.core.model import Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.demo import view
from streamproc.demo.board import Board
from streamproc.demo.topics import Change

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
URL = "http://127.0.0.1:8080/metrics"


def change(seconds=0, run_id="run_1", start="queued", to="in_progress", expected=True):
    in_from_ms = None if start is None else 1_500
    return Change(NOON + timedelta(seconds=seconds), run_id, start, to, in_from_ms, expected, "gpt-4o")


@pytest.fixture
def board():
    """A board with large figures everywhere."""
    board = Board("127.0.0.1:31999", clock=lambda: 0.0)
    figures = board.figures
    board.metrics_url, board.phase, board.events_per_s = URL, "x" * 200, 12_345.6
    board.sent.update({"event": 9_876_543})
    figures.events, figures.transitions, figures.commits = 8_765_432, 7_654_321, 654_321
    figures.verdicts.update(dict.fromkeys(Verdict, 1_234_567))
    figures.rejected.update({"unknown_schema": 54_321, "bad_framing": 4_321, "bad_time": 3, "bad_status": 2, "x": 1})
    figures._runs["run-events", 0] = Counter(dict.fromkeys(ASSISTANTS.statuses, 123_456), expired=1)
    figures._lags["run-events", 0] = 98_765
    board.saw([change(number, f"run_{number:022}", "requires_action", expected=number % 2) for number in range(30)])
    board.log.append("warning " + "y" * 200)
    return board


def shown(board, width=view.WIDTH):
    console = Console(record=True, width=width, height=view.HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(view.render(board, ASSISTANTS))
    return console


def text(board):
    return shown(board).export_text()


def test_fits_the_smallest_terminal(board):
    lines = text(board).splitlines()
    assert len(lines) <= view.HEIGHT
    assert max(map(len, lines)) <= view.WIDTH


def test_what_was_sent_and_is_in_no_commit_is_behind():
    """Rule: no lag of 0 while events are unread; a task knows of them only once it has fetched."""
    board = Board("")
    board.sent.update({"event": 463})
    assert board.behind == 463
    assert "lag 463" in view.line(board)
    board.figures.events, board.figures._lags["run-measurements", 0] = 460, 7
    assert board.behind == 7


def test_a_service_that_was_stopped_has_no_tasks_to_count(board):
    """Rule: the last picture does not say that nothing works, but that it is over."""
    assert re.search(r"tasks +0", text(board))
    board.is_stopped = True
    assert re.search(r"tasks +stopped", text(board))


def test_fits_empty_too():
    lines = text(Board("127.0.0.1:31999")).splitlines()
    assert len(lines) <= view.HEIGHT
    assert max(map(len, lines)) <= view.WIDTH


@pytest.mark.parametrize(
    "part",
    [
        "9,876,543",  # sent
        "8,765,432",  # events in
        "12,346",  # a second
        "1,111,111",  # lag
        "654,321",  # commits
        *ASSISTANTS.statuses,
        "123,456",
        *Verdict,
        "58,648",  # rejected
        "others",
        URL,
        "run_000000000000000000",
        "requires_action → in_progress !",
        "after 1.5 s",
        "warning yyy",
    ],
)
def test_shows(board, part):
    assert part in text(board)


def test_metrics_address_is_a_link(board):
    console = shown(board)
    assert f'href="{URL}"' in console.export_html()


def test_last_transitions_of_all_partitions_newest_first():
    board = Board("")
    board.saw([change(2, "run_c"), change(4, "run_e")])
    board.saw([change(3, "run_d", None, "queued"), change(1, "run_b")])
    found = text(board)
    order = [found.index(run_id) for run_id in ("run_e", "run_d", "run_c", "run_b")]
    assert order == sorted(order)
    assert "new → queued" in found


def test_reasons_beyond_the_room_are_summed_up():
    reasons = Counter(a=9, b=5, c=3, d=2, e=1)
    assert view.top(reasons, 3) == [("a", 9), ("b", 5), ("others", 6)]
    assert view.top(reasons, 5) == reasons.most_common()


def test_bar_shows_what_is_there():
    assert [view.bar(count, 1_000) for count in (0, 1, 1_000)] == [0, 1, view.BAR]


def test_line_for_scripts(board):
    line = view.line(board)
    assert "\n" not in line
    for part in ("sent 9,876,543", "events in 8,765,432 (12,346/s)", "lag 1,111,111", "rejected 58,648"):
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
