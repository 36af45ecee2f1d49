"""What is made of files is the last good one: a file that is half-written holds up nobody."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from streamproc.credentials.renewal import Renewed
from streamproc.errors import ConfigError


class Files:
    """What the files say; an error is what reading them raises. Only figures can be made into something."""

    def __init__(self, said: str | ConfigError) -> None:
        self.said = said
        self.read = 0

    def __call__(self) -> str:
        """Read them."""
        self.read += 1
        if isinstance(self.said, ConfigError):
            raise self.said
        return self.said


def number(text: str) -> int:
    """Make it."""
    if not text.isdecimal():
        raise ConfigError("secret_file: no figures")
    return int(text)


async def test_what_has_changed_is_made_again() -> None:
    """And said once."""
    files = Files("1")
    renewed = Renewed("kafka", files, number, fixed=False)
    with capture_logs() as lines:
        assert await renewed.current() == 1
        files.said = "2"
        assert [await renewed.current(), await renewed.current()] == [2, 2]
    assert [line["event"] for line in lines] == ["changed files are in use for new connections"]


@pytest.mark.parametrize("bad", ["half-wri", ConfigError("secret_file: there is no such file")])
async def test_what_cannot_be_used_changes_nothing_and_is_said_once(bad: str | ConfigError) -> None:
    """With the setting's name; it is tried again each time."""
    files = Files("1")
    renewed = Renewed("kafka", files, number, fixed=False)
    files.said = bad
    with capture_logs() as lines:
        assert [await renewed.current() for _ in range(3)] == [1, 1, 1]
    [line] = lines
    assert (line["settings"], line["log_level"]) == ("kafka", "warning")
    assert line["why"].startswith("secret_file: ")
    assert files.read == 4
    files.said = "2"
    assert await renewed.current() == 2


async def test_what_was_refused_is_not_made_again_until_it_changes() -> None:
    """Half of a pair is renewed: each connection looks at the files, none pays for making it once more."""
    files, made = Files("1"), list[str]()

    def counted(text: str) -> int:
        made.append(text)
        return number(text)

    renewed = Renewed("kafka", files, counted, fixed=False)
    for said in ("half", "half", "half", "2", "half", "half"):
        files.said = said
        await renewed.current()
    assert made == ["1", "half", "2", "half"]
    assert (renewed.made, files.read) == (2, 7)


async def test_each_new_trouble_is_said_and_its_end() -> None:
    files = Files("1")
    renewed = Renewed("kafka", files, number, fixed=False)
    with capture_logs() as lines:
        for said in (ConfigError("gone"), "1", ConfigError("gone"), "no figures", "1"):
            files.said = said
            assert await renewed.current() == 1
    bad, good = "a changed file cannot be used", "the files are as before"
    assert [line["event"] for line in lines] == [bad, good, bad, bad, good]


async def test_without_files_nothing_is_read_again() -> None:
    files = Files("1")
    renewed = Renewed("kafka", files, number, fixed=True)
    assert await renewed.current() == 1
    assert files.read == 1


def test_the_first_time_there_is_nothing_to_fall_back_on() -> None:
    with pytest.raises(ConfigError, match="no figures"):
        Renewed("kafka", Files("x"), number, fixed=False)


async def test_a_mount_that_hangs_takes_one_thread() -> None:
    """Whoever asks meanwhile gets what was read last: threads are for others, too."""
    files, hangs, entered = Files("1"), threading.Event(), threading.Event()

    def read() -> str:
        if files.read:
            entered.set()
            hangs.wait()
        return files()

    renewed = Renewed("kafka", read, number, fixed=False)
    first = asyncio.create_task(renewed.current())
    try:
        await asyncio.to_thread(entered.wait)
        assert [await renewed.current() for _ in range(100)] == [1] * 100
    finally:
        hangs.set()
    assert await first == 1
