"""A decoded object as an indented tree that folds; without recursion, since objects nest as deep as they like."""

from collections.abc import Iterator
from typing import Any, Final

from markupsafe import Markup

from streamproc.console.pages.written import foreign
from streamproc.escaping import escaped

MAX_NODES: Final = 3_000
MAX_CHARS: Final = 400
MAX_DEPTH: Final = 100
"""Browsers stop at 512 elements within each other, and indent no further than a screen is wide."""


def tree(value: Any) -> Markup:
    """Return the HTML of what JSON can say; a count of what is left out where it is large."""
    return Markup("").join(_pieces(value))


def _pieces(value: Any) -> Iterator[Markup]:
    stack: list[tuple[int, str | None, Any]] = [(0, None, value)]
    shown = 0
    while stack:
        depth, key, found = stack.pop()
        if isinstance(found, Markup):
            yield found
            continue
        shown += 1
        if shown > MAX_NODES:
            yield Markup('<div class="more">more than {:,} values: the rest is in the API\'s answer</div>').format(
                MAX_NODES
            )
            yield from (piece for _, _, piece in reversed(stack) if isinstance(piece, Markup))
            return
        entries = _entries(found)
        if not entries or depth >= MAX_DEPTH:
            yield Markup("<div>{}{}</div>").format(_key(key), _leaf(found))
            continue
        yield Markup("<details open><summary>{}{}</summary>").format(_key(key), _size(found))
        stack.append((depth, None, Markup("</details>")))
        stack += [(depth + 1, name, entry) for name, entry in reversed(entries)]


def _entries(found: Any) -> list[tuple[str | None, Any]]:
    if isinstance(found, dict):
        return [(str(name), entry) for name, entry in found.items()]
    return [(None, entry) for entry in found] if isinstance(found, list) else []


def _key(key: str | None) -> Markup:
    return (
        Markup("") if key is None else Markup('<span class="key">{}</span>: ').format(foreign(key or '""', MAX_CHARS))
    )


def _size(found: Any) -> Markup:
    shown = f"{{ {len(found):,} }}" if isinstance(found, dict) else f"[ {len(found):,} ]"
    return Markup('<span class="size">{}</span>').format(shown)


def _leaf(found: Any) -> Markup:
    if isinstance(found, str):
        cut = found[:MAX_CHARS]
        more = f" … {len(found):,} characters" if len(found) > MAX_CHARS else ""
        return Markup('<span class="text">"<bdi>{}</bdi>"</span><span class="size">{}</span>').format(
            escaped(cut), more
        )
    if isinstance(found, dict | list):
        empty = "{}" if isinstance(found, dict) else "[]"
        return Markup('<span class="size">{}</span>').format("…" if found else empty)
    words = {None: "null", True: "true", False: "false"}
    shown = words[found] if found is None or isinstance(found, bool) else escaped(str(found))[:MAX_CHARS]
    return Markup('<span class="value">{}</span>').format(shown)
