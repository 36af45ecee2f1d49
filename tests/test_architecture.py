"""The architecture is a failing test: sizes, and what the import contracts in pyproject.toml do not say."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.support.source import parsed

PACKAGE = Path(__file__).parents[1] / "streamproc"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50
PURE = {
    *("bisect", "collections", "dataclasses", "datetime", "enum", "functools", "heapq", "itertools", "math", "types"),
    "typing",
}
"""What the core may use of the standard library; beside it only msgspec, for its structs, and what its words are."""
CLOCKS = {f"{kind}.{asked}" for kind in ("datetime", "date") for asked in ("now", "utcnow", "today")}
CORE_LIBRARIES = {"msgspec", "streamproc.vocabulary"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, libraries included."""
    return grimp.build_graph("streamproc", include_external_packages=True)


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def _functions() -> Iterator[tuple[str, int]]:
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{_name(path)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_no_module_is_long() -> None:
    """Whoever opens a module reads all of it."""
    lines = {_name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_no_function_is_long() -> None:
    """A function fits on a screen."""
    assert {name: count for name, count in _functions() if count > MAX_FUNCTION_LINES} == {}


def test_the_core_uses_nothing_that_is_not_pure(graph: grimp.ImportGraph) -> None:
    """By a list of what it may use: whatever is new has to be thought about."""
    core = {"streamproc.core", *graph.find_descendants("streamproc.core")}
    used = {imported for module in core for imported in graph.find_modules_directly_imported_by(module)}
    allowed = core | PURE | CORE_LIBRARIES
    assert {name for name in used if name not in allowed} == set()
    assert sys.stdlib_module_names >= PURE


def test_the_core_asks_no_clock() -> None:
    """It may write a time that it was given, and no other."""
    core = [path for path in MODULES if "core" in path.relative_to(PACKAGE).parts]
    asked = [ast.unparse(node) for path in core for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)]
    assert CLOCKS.isdisjoint(asked)
    assert "datetime.fromtimestamp" in asked


def test_imports_make_no_cycle(graph: grimp.ImportGraph) -> None:
    """Neither between modules nor, as the import contracts say, between layers."""
    own = {module for module in graph.modules if module.partition(".")[0] == "streamproc"}
    imports = {module: graph.find_modules_directly_imported_by(module) & own for module in own}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))
