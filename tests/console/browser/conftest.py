"""A browser for each module: while one runs, its thread has an event loop, and no asynchronous test could."""

from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PATIENCE_MS, Watched, browser, executable, served, until
from tests.support.console import FakeReads, Site

expect.set_options(timeout=PATIENCE_MS)


class Open(NamedTuple):
    """A console, and a page to open it in."""

    site: Site
    url: str
    page: Page
    watched: Watched

    def go(self, path: str) -> None:
        """Open a page, and wait for its script."""
        self.page.goto(f"{self.url}{path}")
        self.page.wait_for_selector("html.js")

    def listened(self) -> None:
        """Wait until the page hears of events."""
        until(lambda: bool(self.site.reads.listeners))


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in item.nodeid.split("::")[0]:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def chromium():
    with browser(executable()) as found:
        yield found


@pytest.fixture
def site():
    return Site(FakeReads())


@pytest.fixture
def options():
    """What the browser's user has set; a test may have it otherwise."""
    return {}


@pytest.fixture
def base():
    return ""


@pytest.fixture
def opened(chromium, site, options, base):
    """Fails a test whose pages had anything to complain about."""
    with served(site, base) as url:
        settings = {"viewport": {"width": 1_280, "height": 800}, "timezone_id": "America/New_York", **options}
        context = chromium.new_context(**settings)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        watched = Watched(page)
        yield Open(site, url, page, watched)
        context.close()
    assert watched.faults == []
