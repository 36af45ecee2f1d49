"""A decoded object as an indented, foldable tree. Without recursion, because objects may nest to any depth."""

from collections.abc import Iterator
from typing import Any, Final

from markupsafe import Markup

from streamproc.console.pages.written import foreign
from streamproc.escaping import escaped

MAX_NODES: Final = 3_000
MAX_CHARS: Final = 400
MAX_DEPTH: Final = 100
"""Browsers stop at 512 nested elements, and a screen has no room for deeper indentation."""


def tree(value: Any) -> Markup:
    """Return the HTML of a JSON value; of a large one only the first MAX_NODES values, and a note."""
    return Markup("").join(_pieces(value))


def _pieces(value: Any) -> Iterator[Markup]:
    stack: list[tuple[int, str | None, Any]] = [(0, None, value)]
    shown = 0
    while stack:
        depth, key, node = stack.pop()
        if isinstance(node, Markup):
            yield node
            continue
        shown += 1
        if shown > MAX_NODES:
            yield Markup('<div class="more">more than {:,} values: the rest is in the API\'s answer</div>').format(
                MAX_NODES
            )
            yield from (piece for _, _, piece in reversed(stack) if isinstance(piece, Markup))
            return
        entries = _entries(node)
        if not entries or depth >= MAX_DEPTH:
            yield Markup("<div>{}{}</div>").format(_key(key), _leaf(node))
            continue
        yield Markup("<details open><summary>{}{}</summary>").format(_key(key), _size(node))
        stack.append((depth, None, Markup("</details>")))
        stack += [(depth + 1, name, entry) for name, entry in reversed(entries)]


def _entries(node: Any) -> list[tuple[str | None, Any]]:
    if isinstance(node, dict):
        return [(str(name), entry) for name, entry in node.items()]
    return [(None, entry) for entry in node] if isinstance(node, list) else []


def _key(key: str | None) -> Markup:
    return (
        Markup("") if key is None else Markup('<span class="key">{}</span>: ').format(foreign(key or '""', MAX_CHARS))
    )


def _size(node: Any) -> Markup:
    shown = f"{{ {len(node):,} }}" if isinstance(node, dict) else f"[ {len(node):,} ]"
    return Markup('<span class="size">{}</span>').format(shown)


def _leaf(node: Any) -> Markup:
    if isinstance(node, str):
        cut = node[:MAX_CHARS]
        more = f" … {len(node):,} characters" if len(node) > MAX_CHARS else ""
        return Markup('<span class="text">"<bdi>{}</bdi>"</span><span class="size">{}</span>').format(
            escaped(cut), more
        )
    if isinstance(node, dict | list):
        empty = "{}" if isinstance(node, dict) else "[]"
        return Markup('<span class="size">{}</span>').format("…" if node else empty)
    words = {None: "null", True: "true", False: "false"}
    shown = words[node] if node is None or isinstance(node, bool) else escaped(str(node))[:MAX_CHARS]
    return Markup('<span class="value">{}</span>').format(shown)
