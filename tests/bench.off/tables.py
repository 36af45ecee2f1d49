"""Tables in Markdown, as docs/benchmarks.md has them."""

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; the first column is text, the others are numbers."""
    cells = [list(heads), ["---", *["---:"] * (len(heads) - 1)], *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
