"""What the generated pages are written with: a head that says where they come from, tables, cells."""

import re
from collections.abc import Iterable, Sequence

COMMAND = "python -m tests.docs.reference"


def page(title: str, source: str, *parts: str) -> str:
    """Return a page; `source`: what in the code it is made of."""
    head = f"# {title}\n\nMade of {source} by `{COMMAND}`: change that, not this."
    return "\n\n".join((head, *(part.strip("\n") for part in parts if part))) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells as Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(text: str) -> str:
    """Return text that stays in one cell. A bar within code has no way to be written that all renderers take."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    assert not any("|" in part for part in parts if part.startswith("`")), f"a bar within code: {text}"
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def code(text: object) -> str:
    """Return text as code."""
    return f"`{text}`"


def codes(texts: Iterable[object]) -> str:
    """Return texts as code, with commas between them."""
    return ", ".join(map(code, texts))


def paragraphs(text: str) -> str:
    """Return a docstring's paragraphs, each in one line."""
    return "\n\n".join(" ".join(one.split()) for one in text.split("\n\n") if one.strip())


def _plain(text: str) -> str:
    """Outside of code `<` begins a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
