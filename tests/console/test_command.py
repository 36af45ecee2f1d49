"""A console put together: what it takes, it gives back."""

import pytest

from streamproc.console import command
from streamproc.console.model.database import Database
from streamproc.settings.console import ConsoleSettings
from streamproc.settings.service import Settings
from tests.support.fake_kafka import FakeKafka


async def test_its_file_is_free_again_however_it_ends(tmp_path, monkeypatch):
    """Who puts a console together otherwise may fail within it."""
    monkeypatch.setattr(command, "make_kafka", lambda _: FakeKafka())
    path = tmp_path / "console.sqlite"
    with pytest.raises(ZeroDivisionError):
        async with command._console(Settings(console=ConsoleSettings(database=path)), None) as console:
            raise ZeroDivisionError
    assert console.following.done()
    Database(path, {}).close()
