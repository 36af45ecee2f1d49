"""The reference is made of the code: no page is stale, every setting is described, every link leads somewhere."""

import re

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.docs.reference.markdown import COMMAND
from tests.docs.reference.pages import DIRECTORY, PAGES
from tests.docs.reference.settings import groups

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def test_every_setting_has_a_description():
    found = [(*group.path, name) for group in groups() for name, field in group.fields.items() if not field.description]
    assert found == []


def test_every_section_says_what_it_is():
    assert [group.path for group in groups() if not group.section.__doc__] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str):
    assert (DIRECTORY / name).read_text(encoding="utf-8") == PAGES[name](), f"run `{COMMAND}`"


def test_nothing_else_is_among_them():
    assert {file.name for file in DIRECTORY.iterdir()} == {*PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str):
    links = LINK.findall((DIRECTORY / name).read_text(encoding="utf-8"))
    for target, anchor in links:
        file = (DIRECTORY / target).resolve() if target else DIRECTORY / name
        assert file.is_file(), target
        assert not anchor or anchor in _anchors(file.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_the_navigation_has_every_page():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    sections = yaml.safe_load(text)["nav"]
    [reference] = [section["Reference"] for section in sections if isinstance(section, dict) and "Reference" in section]
    named = {file for entry in reference for file in entry.values()}
    assert {f"reference/{name}" for name in PAGES} | {"rights.md", "api.md"} <= named


def _anchors(text: str) -> set[str]:
    """Return the ids that headings get, as Markdown's table of contents makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
