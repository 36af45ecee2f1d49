"""docs/rules.md and what cites it: the rules, the code and the tests speak of the same things."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from streamproc.core.profiles import ASSISTANTS
from tests.support.source import parsed

ROOT = Path(__file__).parents[1]
RULES = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
DOMAIN = (ROOT / "docs/domain.md").read_text(encoding="utf-8")
NUMBERS = [int(number) for number in re.findall(r"^(\d+)\. ", RULES, re.MULTILINE)]
SUFFIXES = {".avsc", ".md", ".py", ".toml", ".yml"}
PLACES = ("deploy", "docs", "schemas", "streamproc", "tests")
TEXTS = sorted(
    path
    for path in (*ROOT.iterdir(), *(path for place in PLACES for path in (ROOT / place).rglob("*")))
    if path.suffix in SUFFIXES
)
PAGES = [path for path in TEXTS if path.suffix == ".md"]
CITATION = re.compile(r"\brules?(?:\.md)?\s+(\d+(?:(?:,\s+|\s+and\s+|\s+to\s+)\d+)*)", re.IGNORECASE)
"""As in `rules.md 17`, `rules.md 2, 20 and 22`, `rules 12 to 14`."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def cited(text: str) -> Iterator[int]:
    """Yield the numbers of the rules that a text cites; "to" means all between."""
    for numbers in CITATION.findall(text):
        for first, last in re.findall(r"(\d+)(?:\s+to\s+(\d+))?", numbers):
            yield from range(int(first), int(last or first) + 1)


@cache
def citations() -> Mapping[int, list[str]]:
    """Return the files that cite each rule."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in TEXTS:
        for number in cited(path.read_text(encoding="utf-8")):
            found[number].append(_name(path))
    return found


@cache
def held() -> Mapping[int, list[str]]:
    """Return the tests that say of themselves that they hold a rule: by their docstring, or their module's."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = parsed(path)
        for node in (tree, *ast.walk(tree)):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test or node is tree:
                for number in cited(ast.get_docstring(node) or ""):
                    found[number].append(f"{path.name} {getattr(node, 'name', '')}")
    return found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("(rules.md 17)", [17]),
        ("rules.md 2, 20 and 22: so", [2, 20, 22]),
        ("Rules 12 to 14 of rules.md", [12, 13, 14]),
        ("as rule 5 has it, 6 times", [5]),
        ("broken over a line (rules.md\n    9)", [9]),
        ("rules.md says so; rules of 3", []),
    ],
)
def test_a_citation_is_found_as_people_write_it(text: str, numbers: list[int]) -> None:
    """Else the tests below hold nothing."""
    assert list(cited(text)) == numbers


def test_the_rules_are_numbered_without_gaps() -> None:
    """A number is never given away again: a rule that goes leaves a line that says so."""
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS


def test_each_rule_that_is_cited_exists() -> None:
    """In code, tests, schemas, deploy/ and texts."""
    assert {number: files for number, files in citations().items() if number not in NUMBERS} == {}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_test_says_that_it_holds_the_rule(number: int) -> None:
    """What no test holds is a wish."""
    assert held()[number]


def test_no_text_is_named_that_is_not_here() -> None:
    """Whoever reads of one can open it."""
    known = {page.name for page in PAGES}
    named = {_name(path): set(re.findall(r"\b[\w-]+\.md\b", path.read_text(encoding="utf-8"))) for path in TEXTS}
    assert {place: names - known for place, names in named.items() if names - known} == {}


def test_nothing_points_outside_the_project() -> None:
    """What was there first is here now, as the project's own."""
    assert [_name(path) for path in TEXTS if re.search(r"\.\./sha[r]ed\b", path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_link_leads_somewhere(page: Path) -> None:
    """In every text of the project."""
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_life_cycle_that_the_domain_describes_is_the_profile_that_ships() -> None:
    """Row by row: what is documented, and what is accepted beside it."""
    section = re.split(r"^## ", DOMAIN, flags=re.MULTILINE)[3]
    rows = re.findall(r"^\| (\w+) \| ([\w, ]+?) \| ([\w, ]+?)(?: \([^|]*\))? \|$", section, re.MULTILINE)[1:]
    told = {start: (set(documented.split(", ")), set(accepted.split(", "))) for start, documented, accepted in rows}
    table = {start: (ASSISTANTS.documented[start], ASSISTANTS.accepted[start]) for start in ASSISTANTS.documented}
    assert told == table
    assert f"| {', '.join(ASSISTANTS.outcomes)} | nothing" in section
