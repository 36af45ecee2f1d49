"""Dead letters sent back from the console: as `dlq replay` does under the same settings."""

import pytest

from streamproc.console import command
from streamproc.console.reads import LetterFilter
from streamproc.settings.console import ConsoleSettings
from streamproc.settings.service import Settings
from tests.support.desk import Desk

ACTING = Settings(console=ConsoleSettings(actions=True))


async def dry_run(desk: Desk, monkeypatch: pytest.MonkeyPatch, wanted: LetterFilter):
    monkeypatch.setattr(command, "make_dead_letter_kafka", lambda _: desk.kafka)
    await desk.create()
    desk.fail(2)
    desk.fail(1, reason="bad_time")
    async with command._actions(ACTING) as actions:
        return await actions.replay("olga", wanted, [], dry_run=True, expected=None)


async def test_a_dry_run_warns_of_letters_whose_schema_is_still_unknown(monkeypatch):
    """They are going to be rejected again, which `dlq replay --dry-run` says, too."""
    done = await dry_run(Desk(), monkeypatch, LetterFilter())
    assert done.to_replay == 3
    [warning] = done.warnings
    assert "these settings still do not know none 2: such dead letters will be rejected again" in warning


async def test_a_dry_run_of_other_letters_warns_of_nothing(monkeypatch):
    done = await dry_run(Desk(), monkeypatch, LetterFilter(reason="bad_time"))
    assert (done.to_replay, done.warnings) == (1, [])
