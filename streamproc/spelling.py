"""Statuses that are spelt otherwise than the profile has them."""

from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache


def meant(status: str, statuses: Collection[str]) -> str | None:
    """Return the status that was probably meant, None where none is near: `in-progress` and `In_Progress` are."""
    return _meant(status, tuple(sorted(statuses)))


@lru_cache(maxsize=1_000)
def _meant(status: str, statuses: tuple[str, ...]) -> str | None:
    known = {_plainly(each): each for each in statuses}
    near = get_close_matches(_plainly(status), known, 1)
    return known[near[0]] if near else None


def _plainly(status: str) -> str:
    return "".join(character for character in status.casefold() if character.isalnum())
