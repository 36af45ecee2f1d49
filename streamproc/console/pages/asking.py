"""What a URL asks of a list: which part of it, and the way back."""

from typing import Final, NamedTuple

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from streamproc.console.pages.links import Links
from streamproc.console.reads import Page

MAX_BACK: Final = 30
"""Pages that one can go back; from there it is the first one."""
FIRST: Final = "-"
"""Stands for the cursor of the first page."""


class Turning(NamedTuple):
    """Links to the pages before and behind; None where there is none."""

    back: str | None
    on: str | None


def page_of(asked: QueryParams, rows: int) -> Page:
    """Return which part is asked for."""
    return Page(rows, asked.get("cursor") or None)


def turning(links: Links, path: str, asked: QueryParams, following: str | None) -> Turning:
    """Return the ways on and back. The cursors that were passed are in the URL: a list has none backwards."""
    kept = {name: value for name, value in asked.items() if name not in {"cursor", "back", "fragment"}}
    passed, cursor = asked.getlist("back")[-MAX_BACK:], asked.get("cursor")
    back = None
    if cursor:
        last = passed[-1] if passed else FIRST
        back = links.to(path, **kept, cursor=None if last == FIRST else last, back=passed[:-1])
    on = None
    if following:
        on = links.to(path, **kept, cursor=following, back=[*passed, cursor or FIRST][-MAX_BACK:])
    return Turning(back, on)


def whole(text: str | None) -> int | None:
    """Return a number of a URL, None where there is none; raises HTTPException (400)."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004
        raise HTTPException(400)
    return int(text)
