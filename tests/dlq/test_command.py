"""The commands on the fake Kafka: what they print where, and with which exit code they end."""

import base64
import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from streamproc.cli import dlq as dlq_cli
from streamproc.dlq import replaying
from streamproc.dlq.choice import Choice, WrongFilter
from streamproc.dlq.command import Payload, list_letters, replay_letters, show_letter
from streamproc.dlq.limits import ReplayLimits
from streamproc.dlq.listing import LetterListing
from streamproc.errors import KNOWN_REASONS, BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.printing import Consoles
from tests.support.application import always
from tests.support.desk import EVERYTHING, NOW_MS, Desk, knows_all


class Screen:
    """Two consoles that are no terminals, or with a terminal for stderr."""

    def __init__(self, terminal: bool = False) -> None:
        self._out, self._err = io.StringIO(), io.StringIO()
        self.consoles = Consoles(
            Console(file=self._out, color_system=None),
            Console(file=self._err, force_terminal=terminal, _environ={"TERM": "xterm"}, width=100),
        )

    @property
    def out(self) -> str:
        """What came out on stdout."""
        return self._out.getvalue()

    @property
    def err(self) -> str:
        """What came out on stderr."""
        return self._err.getvalue()

    def row(self, name: str) -> list[str]:
        """Return the cells behind a name, in what came out."""
        (line,) = [line for line in self.out.splitlines() if line.startswith(f"{name}  ")]
        return [cell.strip() for cell in line.split("  ") if cell.strip()][1:]


@pytest.fixture
def screen() -> Screen:
    """Plain."""
    return Screen()


async def listed(desk: Desk, screen: Screen, as_json=False, limit=0, choice=EVERYTHING) -> None:
    await list_letters(desk.kafka, desk.topics, choice, LetterListing(limit), screen.consoles, as_json=as_json)


async def replayed(desk: Desk, screen: Screen, dry_run=False, max_attempts=3, choice=EVERYTHING) -> int:
    limits = ReplayLimits(max_attempts, 10_000, knows_all)
    return await replay_letters(desk.kafka, desk.topics, choice, limits, screen.consoles, dry_run=dry_run)


async def test_a_list_ends_with_totals(desk: Desk, screen: Screen) -> None:
    """Over all letters, whatever the limit."""
    desk.fail(3)
    desk.fail(1, partition=1, reason="bad_time")
    await desk.replayed(Choice(partitions=frozenset([1])))
    await listed(desk, screen, limit=2)
    lines = [line.strip() for line in screen.out.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines[2:4]] == ["0:1", "0:2"]
    assert lines[4:] == [
        "4 dead letters, 1 of them replayed",
        "by reason: unknown_schema 3, bad_time 1",
        "by schema: none 4",
    ]


async def test_a_list_of_nothing_says_so(desk: Desk, screen: Screen) -> None:
    """Without a table."""
    await listed(desk, screen)
    assert screen.out == "0 dead letters, 0 of them replayed\n"


@pytest.mark.parametrize("command", [listed, replayed])
async def test_where_nothing_matches_it_says_what_there_is(command, desk: Desk, screen: Screen) -> None:
    """A word that is misspelt is no success."""
    desk.fail(2)
    desk.fail(1, partition=1, reason="bad_time")
    await command(desk, screen, choice=Choice(reasons=frozenset(["unknwon_schema"])))
    said = (
        "none of the 3 dead letters matches the filter. By reason and schema they are:\n"
        "by reason: unknown_schema 2, bad_time 1\nby schema: none 3\n"
    )
    assert said in screen.err


def test_a_reason_that_there_is_not_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    """No error: another version may know it."""
    nothing = dict.fromkeys(("places", "schemas", "since", "until", "event_since", "event_until", "partitions"))
    assert dlq_cli._choice(reasons=["bad_time"], **nothing).reasons == {"bad_time"}
    assert capsys.readouterr().err == ""
    assert dlq_cli._choice(reasons=["unknwon_schema"], **nothing).reasons == {"unknwon_schema"}
    said = capsys.readouterr().err
    assert (
        "unknown reason unknwon_schema; nothing will match unless another release wrote it. Known: bad_framing" in said
    )
    assert all(reason in said for reason in KNOWN_REASONS)


async def test_only_what_is_still_to_be_done_is_listed_if_asked_for(desk: Desk, screen: Screen) -> None:
    """--open."""
    desk.fail(3)
    await desk.replayed(Choice(places=frozenset([(0, 1)])))
    await list_letters(
        desk.kafka, desk.topics, EVERYTHING, LetterListing(0, open_only=True), screen.consoles, as_json=False
    )
    lines = [line.strip() for line in screen.out.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines[2:4]] == ["0:0", "0:2"]
    assert lines[4:] == ["2 dead letters not replayed yet", "by reason: unknown_schema 2", "by schema: none 2"]


async def test_what_is_going_to_be_rejected_again_is_said_before(desk: Desk, screen: Screen) -> None:
    """The settings do not know the schema yet: nothing was mended."""
    desk.fail(2)
    desk.fail(1, reason="bad_time")
    limits = ReplayLimits(3, 10_000, knows=lambda _: False)
    await replay_letters(desk.kafka, desk.topics, EVERYTHING, limits, screen.consoles, dry_run=True)
    assert "these settings still do not know none 2: such dead letters will be rejected again" in screen.err
    assert screen.row("would be replayed") == ["3", "by reason: unknown_schema 2, bad_time 1; by schema: none 3"]


async def test_a_place_that_holds_nothing_is_named(desk: Desk, screen: Screen) -> None:
    """Beside one that does."""
    desk.fail(2)
    await replayed(desk, screen, dry_run=True, choice=Choice(places=frozenset([(0, 1), (0, 99), (1, 7)])))
    assert screen.row("would be replayed")[0] == "1"
    assert "there is no dead letter at 0:99\nthere is no dead letter at 1:7\n" in screen.err
    other = Choice(places=frozenset([(0, 1)]), reasons=frozenset(["bad_time"]))
    await replayed(desk, screen, dry_run=True, choice=other)
    assert "no dead letter at 0:1" not in screen.err, "there is a letter, of another reason"


def test_a_range_that_holds_nothing_is_refused() -> None:
    """--until before --since."""
    with pytest.raises(WrongFilter, match="--event-until is not after --event-since"):
        Choice(event_since_ms=2, event_until_ms=2).checked()
    assert Choice(since_ms=1, until_ms=2, event_since_ms=3).checked()


async def test_where_something_matches_nothing_else_is_said(desk: Desk, screen: Screen) -> None:
    """Also where it is left."""
    desk.fail(2, topic="run-measurements")
    desk.fail(1, reason="bad_time")
    assert await replayed(desk, screen, choice=Choice(reasons=frozenset(["unknown_schema"]))) == 0
    assert "matches" not in screen.err


async def test_json_is_one_object_a_line_and_nothing_else(desk: Desk, screen: Screen) -> None:
    """What else there is to say goes to stderr."""
    desk.fail(3)
    desk.log("dead_letters").append((None, b"x", NOW_MS, []), "committed")
    await listed(desk, screen, as_json=True)
    assert [json.loads(line)["place"] for line in screen.out.splitlines()] == ["0:0", "0:1", "0:2"]
    assert screen.err == "1 records of the topic are not dead letters of streamproc: another program wrote them\n"


async def test_show_prints_the_value_only_if_asked_to(desk: Desk, screen: Screen) -> None:
    """As a hex dump."""
    desk.fail(2)
    await show_letter(desk.kafka, desk.topics, (0, 1), Payload(), screen.consoles)
    assert screen.row("place") == ["0:1"]
    assert screen.row("key") == ["key"]
    assert screen.row("replayed") == ["no"]
    assert "value1" not in screen.out.replace(" ", "")
    await show_letter(desk.kafka, desk.topics, (0, 1), Payload(show=True), screen.consoles)
    assert screen.out.endswith("00000000  76 61 6c 75 65 20 31                             value 1\n")


async def test_show_is_one_object_for_programs(desk: Desk, screen: Screen) -> None:
    """Times in milliseconds, bytes in base64; the value only if asked for."""
    desk.fail(1)
    await show_letter(desk.kafka, desk.topics, (0, 0), Payload(), screen.consoles, as_json=True)
    await show_letter(desk.kafka, desk.topics, (0, 0), Payload(show=True), screen.consoles, as_json=True)
    without, shown = map(json.loads, screen.out.splitlines())
    assert (without["place"], without["written"], without["replayed"]) == ("0:0", NOW_MS - 1_000, None)
    assert without["source"] == {"topic": "run-events", "partition": 0, "offset": 0}
    assert base64.b64decode(without["key"]) == b"key"
    assert [(each["name"], base64.b64decode(each["value"])) for each in without["headers"]] == [("number", b"0")]
    assert shown == {**without, "value": base64.b64encode(b"value 0").decode()}


async def test_a_replay_is_one_object_for_programs(desk: Desk, screen: Screen) -> None:
    """Of a dry run, too; what was left is counted by why."""
    desk.fail(2)
    desk.fail(1, topic="run-measurements")
    for dry_run in (True, False):
        limits = ReplayLimits(3, 10_000, knows_all)
        code = await replay_letters(
            desk.kafka, desk.topics, EVERYTHING, limits, screen.consoles, dry_run=dry_run, as_json=True
        )
        assert code == 0
    plan, done = map(json.loads, screen.out.splitlines())
    left = {"elsewhere": 1}
    assert (plan["dry_run"], plan["meant"], plan["replayed"], plan["remaining"], plan["left"]) == (True, 2, 0, 2, left)
    assert (done["dry_run"], done["meant"], done["replayed"], done["remaining"], done["left"]) == (False, 2, 2, 0, left)


async def test_show_writes_the_value_for_its_owner_only(desk: Desk, screen: Screen, tmp_path: Path) -> None:
    """To a new file; an old one is not touched."""
    desk.fail(1)
    file = tmp_path / "value"
    await show_letter(desk.kafka, desk.topics, (0, 0), Payload(out=file), screen.consoles)
    assert file.read_bytes() == b"value 0"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="File exists"):
        await show_letter(desk.kafka, desk.topics, (0, 0), Payload(out=file), screen.consoles)


async def test_a_value_that_the_disk_has_no_room_for_leaves_no_half_of_it(tmp_path: Path) -> None:
    """And says what to do."""
    file, code = (
        tmp_path / "value",
        (
            "import resource, signal, sys; from pathlib import Path; from streamproc.dlq.command import _write\n"
            "from streamproc.errors import ConfigError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
            "try: _write(b'x' * 100_000, Path(sys.argv[1]))\n"
            "except ConfigError as error: print(error)\n"
        ),
    )
    command = [sys.executable, "-B", "-c", code, str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "cannot be written: File too large. Name a file on another disk" in done.stdout, done.stderr
    assert not file.exists()


async def test_show_says_where_there_is_no_letter(desk: Desk, screen: Screen) -> None:
    """Nothing at all, or something else."""
    desk.log("dead_letters").append((None, b"x", NOW_MS, []), "committed")
    for place, words in (
        ((0, 1), "no dead letter at partition 0, offset 1"),
        ((0, 0), "is not a dead letter"),
        ((2, 0), "no partition 2"),
    ):
        with pytest.raises(ConfigError, match=words):
            await show_letter(desk.kafka, desk.topics, place, Payload(), screen.consoles)
    assert screen.out == ""


async def test_a_dry_run_says_what_would_be_done(desk: Desk, screen: Screen) -> None:
    """And does nothing."""
    desk.fail(4)
    desk.fail(1, topic="run-measurements")
    assert await replayed(desk, screen, dry_run=True) == 0
    assert screen.row("would be replayed") == ["4", "by reason: unknown_schema 4; by schema: none 4"]
    assert screen.row("not replayed: not from the events topic") == ["1", "0:4 (from run-measurements)"]
    assert desk.sent() == {}


async def test_a_replay_says_what_it_did(desk: Desk, screen: Screen) -> None:
    """Exit code 0, again where there is nothing to do."""
    desk.fail(4)
    assert await replayed(desk, screen) == 0
    assert screen.row("replayed") == ["4"]
    assert screen.err.splitlines()[:2] == ["reading run-events-dlq", "replaying 4 letters"]
    desk.fail_again()
    again = Screen()
    assert await replayed(desk, again, max_attempts=1) == 0
    assert (again.row("replayed"), again.row("replayed before")) == (["0"], ["4"])
    assert again.row("not replayed: as many attempts as allowed (1)") == ["4", "0:4, 0:5, 0:6, 0:7"]


async def test_a_terminal_gets_a_bar(desk: Desk) -> None:
    """On stderr, and it is taken away at the end."""
    desk.fail(4)
    screen = Screen(terminal=True)
    assert await replayed(desk, screen) == 0
    assert "replaying" in screen.err
    assert "4/4" in screen.err
    assert screen.err.count("\x1b[?25l") == screen.err.count("\x1b[?25h") == 1, "the cursor is back"
    assert screen.row("replayed") == ["4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_replay_says_what_is_left(desk, screen, number, monkeypatch) -> None:
    """Exit code 130."""
    monkeypatch.setattr(replaying, "BATCH_LETTERS", 2)
    desk.fail(9)
    fired: list[str] = []

    def fault(point: str) -> None:
        if point == "before the end" and desk.log("events").end > 9 + 4 and not fired:
            fired.append(point)
            os.kill(os.getpid(), number)

    desk.kafka.fault = fault
    assert await replayed(desk, screen) == 130
    done = sum(desk.sent().values())
    assert 4 <= done < 9
    assert screen.row("replayed") == [str(done)]
    assert screen.row("still to be replayed") == [str(9 - done)]
    assert "the same command goes on from there" in screen.err


async def test_an_interruption_before_the_first_letter_is_no_failure(desk: Desk, screen: Screen) -> None:
    """Exit code 130."""
    desk.fail(2)
    fired: list[str] = []

    def fault(point: str) -> None:
        if point == "fetch" and not fired:
            fired.append(point)
            os.kill(os.getpid(), signal.SIGINT)

    desk.kafka.fault = fault
    assert await replayed(desk, screen) in {130, 0}
    assert set(desk.sent().values()) <= {1}


async def test_a_failed_replay_says_what_it_did_all_the_same(desk: Desk, screen: Screen) -> None:
    """Then raises what failed."""
    desk.fail(4)
    desk.kafka.fault = always("after the end", lambda: TaskInvalid("lost"))
    with pytest.raises(BrokerUnavailable, match="lost"):
        await replayed(desk, screen)
    assert screen.row("replayed") == ["0"]
    assert screen.row("still to be replayed") == ["4"]


async def test_topic_names_in_headers_are_escaped(desk: Desk, screen: Screen) -> None:
    """Somebody else may have written them."""
    desk.fail(1, topic="[red]\x1b[2J")
    assert await replayed(desk, screen, dry_run=True) == 0
    assert "0:0 (from [red]\\x1b[2J)" in screen.out
    assert "\x1b" not in screen.out
