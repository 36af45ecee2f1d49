"""The code of a page of the documentation: files that it names, commands that it shows, with what they print."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[ ]*(?P<attributes>[^\n]*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
ANY = "…"
"""In what a command prints: anything; alone on a line: any lines."""


class Block(NamedTuple):
    """A fenced block. `title`: the file that it is, where it is one."""

    page: str
    line: int
    language: str
    title: str | None
    body: str


class Command(NamedTuple):
    """A command line with what it prints, as patterns; `lasts`: it goes on in the background."""

    line: str
    printed: tuple[str, ...]

    @property
    def lasts(self) -> bool:
        """Whether it goes on in the background."""
        return self.line.endswith("&")


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        title = _TITLE.search(found["attributes"])
        indent = found["indent"]
        body = "".join(line.removeprefix(indent) for line in found["body"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, found["language"], title and title[1], body)


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block: what follows a `$`, and what stands between that and the next one."""
    shown: list[list[str]] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            shown.append([line[2:].split("  #")[0].rstrip()])
        elif shown:
            shown[-1].append(line)
    for first, *printed in shown:
        yield Command(first, tuple(printed))


def is_printed(wanted: tuple[str, ...], text: str) -> bool:
    """Tell whether these lines stand in a text, in order; ANY is any characters, alone on a line any lines."""
    parts = ["(?:.*\n)*?" if line.strip() == ANY else _line(line) for line in wanted]
    return re.search("^" + "".join(parts), text, re.MULTILINE) is not None


def _line(line: str) -> str:
    return "[^\n]*".join(re.escape(part) for part in line.rstrip().split(ANY)) + "[^\n]*\n"
