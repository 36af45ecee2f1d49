"""The parts of a list in the query of a URL: the page, and the links to the pages before and after it."""

from typing import Final, NamedTuple

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from streamproc.console.pages.links import Links
from streamproc.console.reads import Page

MAX_BACK: Final = 30
"""How many pages one can go back; beyond that, the link leads to the first page."""
FIRST: Final = "-"
"""Stands for the cursor of the first page."""


class Turning(NamedTuple):
    """Links to the previous and the next page; None where there is none."""

    back: str | None
    on: str | None


def page_of(query: QueryParams, rows: int) -> Page:
    """Return the requested page."""
    return Page(rows, query.get("cursor") or None)


def turning(links: Links, path: str, query: QueryParams, following: str | None) -> Turning:
    """Return the links on and back. The URL carries the cursors of earlier pages: a list has no backward cursors."""
    others = {name: value for name, value in query.items() if name not in {"cursor", "back", "fragment"}}
    passed, cursor = query.getlist("back")[-MAX_BACK:], query.get("cursor")
    back = None
    if cursor:
        last = passed[-1] if passed else FIRST
        back = links.to(path, **others, cursor=None if last == FIRST else last, back=passed[:-1])
    on = None
    if following:
        on = links.to(path, **others, cursor=following, back=[*passed, cursor or FIRST][-MAX_BACK:])
    return Turning(back, on)


def whole(text: str | None) -> int | None:
    """Return a number in a URL, None for an empty text; raises HTTPException (400)."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004
        raise HTTPException(400)
    return int(text)
