"""Pictures of the console, from the made-up fleet: `python -m tests.console.screenshots [DIRECTORY]`."""

import sys
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect

from tests.support.browser import browser, executable, served
from tests.support.console import FakeReads, Site

DIRECTORY = Path(__file__).parents[2] / "docs" / "screenshots"
SIZE = {"width": 1_200, "height": 720}


def main(directory: Path) -> None:
    """Take all of them."""
    directory.mkdir(parents=True, exist_ok=True)
    site = Site(FakeReads(hostile=False))
    with browser(executable()) as chromium, served(site) as url:
        for theme in ("light", "dark"):
            page = chromium.new_page(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
            for name, path in paths(site).items():
                page.goto(f"{url}{path}")
                page.wait_for_selector("html.js")
                arranged(page, name)
                page.screenshot(path=directory / f"{name}-{theme}.png")
            page.close()


def paths(site: Site) -> dict[str, str]:
    """Return what is shown: of runs, one that has been through most."""
    lives = site.reads.lives.values()
    told = max((life for life in lives if life.run.alerts), key=lambda life: len(life.steps))
    return {
        "overview": "/",
        "runs": "/runs?q=is%3Aopen&sort=since",
        "run": f"/runs/{quote(told.run.run_id, safe='')}",
        "dead-letters": "/dead-letters",
        "pipeline": "/pipeline",
    }


def arranged(page: Page, name: str) -> None:
    """Look into a run of the list; wait for the chart."""
    if name == "overview":
        expect(page.locator(".uplot")).to_be_visible()
    if name == "runs":
        for key in ("j", "j", "Enter"):
            page.keyboard.press(key)
        expect(page.locator("#drawer .timeline")).to_be_visible()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
