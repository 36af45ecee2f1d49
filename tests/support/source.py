"""The source code as the tests read it."""

import ast
import gc
from pathlib import Path


def parsed(path: Path) -> ast.Module:
    """Parse without a garbage collection in the midst of it: Python 3.11.7 may lose count there (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()
