"""The documentation's pages: every link leads somewhere, and nothing comes from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

FROM_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc="?(?:https?:|//)|<link(?![^>]*rel="?canonical)[^>]*\shref="?(?:https?:|//)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built strictly: a link that leads nowhere is an error."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return target


def test_every_page_is_there(site: Path) -> None:
    """Each file in docs/ has a page."""
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs") and page.name != "index.md":
            assert (site / page.relative_to(ROOT / "docs").with_suffix("") / "index.html").exists()


def test_a_page_asks_nobody_else(site: Path) -> None:
    """No font, script, style or picture of another host: the pages are read where nothing else can be reached."""
    found = [page for page in site.rglob("*.html") if FROM_ELSEWHERE.search(page.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_file_lead_to_files(page: Path) -> None:
    """As they are read on a repository's own pages."""
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?:|mailto:", link) or (page.parent / link).exists(), link


def test_the_readme_is_a_door() -> None:
    """At most 900 words."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
