"""Waiting for what comes up, and may end instead."""

import asyncio

import pytest

from streamproc.awaiting import done_before

FOREVER = 3_600.0


async def test_what_comes_up_is_done_whatever_else_goes_on() -> None:
    other = asyncio.get_running_loop().create_future()
    assert await done_before(asyncio.sleep(0), other)
    other.set_result(1)
    assert await done_before(asyncio.sleep(0), within_s=FOREVER)


async def test_what_is_not_up_when_another_one_ends_is_broken_off() -> None:
    """The end is the other one's business: nothing of it is raised here."""
    broken_off = asyncio.Event()

    async def up() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            broken_off.set()

    other = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(other.set_exception, OSError("ended"))
    assert not await done_before(up(), other)
    await broken_off.wait()
    assert isinstance(other.exception(), OSError)


async def test_it_waits_no_longer_than_it_may() -> None:
    other = asyncio.get_running_loop().create_future()
    assert not await done_before(asyncio.sleep(FOREVER), other, within_s=0.001)
    assert not other.done()


async def test_what_goes_wrong_in_coming_up_is_raised() -> None:
    async def up() -> None:
        raise OSError("no port")

    with pytest.raises(OSError, match="no port"):
        await done_before(up(), asyncio.get_running_loop().create_future())


async def test_whoever_is_cancelled_while_he_waits_breaks_it_off() -> None:
    broken_off = asyncio.Event()

    async def up() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            broken_off.set()

    waiting = asyncio.create_task(done_before(up(), asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await broken_off.wait()
