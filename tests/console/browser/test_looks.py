"""Each page in each theme and width: readable for everybody, nothing wider than the screen, no complaint."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.console import FakeReads
from tests.support.fleet import HOSTILE

PAGES = ("/", "/runs", "/run", "/alerts?state=all", "/dead-letters", "/dead-letters/0/900", "/pipeline")
GRAVE = {"serious", "critical"}
AXE = Axe()


def path_of(page):
    """Return where it is: the run is one with an alert and refused arrivals."""
    if page != "/run":
        return page
    lives = FakeReads().lives.values()
    return f"/runs/{next(life.run.run_id for life in lives if life.run.alerts and len(life.steps) > 4)}"


def complaints(page):
    found = AXE.run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:300]) for one in found if one["impact"] in GRAVE]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark"}], ids=["light", "dark"])
def test_everybody_can_read_it(opened, page):
    opened.go(path_of(page))
    assert complaints(opened.page) == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("options", [{"viewport": {"width": 360, "height": 740}}], ids=["360"])
def test_it_fits_a_narrow_screen(opened, page):
    """Tables that are wider scroll by themselves."""
    opened.go(path_of(page))
    wide, screen = opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= screen
    assert complaints(opened.page) == []


@pytest.mark.parametrize("base", ["/ops/console"])
def test_it_works_behind_a_base_path(opened):
    opened.go("/")
    expect(opened.page.locator(".uplot")).to_be_visible()
    opened.listened()
    opened.page.get_by_role("link", name="Runs", exact=True).click()
    opened.page.wait_for_selector("html.js")
    assert opened.page.url == f"{opened.url}/runs"


@pytest.mark.parametrize("options", [{"java_script_enabled": False}], ids=["without"])
def test_it_works_without_a_script(opened):
    page = opened.page
    page.goto(f"{opened.url}/runs")
    page.get_by_label("Filter").fill("status:failed")
    page.get_by_role("button", name="Filter").click()
    assert "q=status%3Afailed" in page.url
    page.locator("[data-run] .c-run a").first.click()
    expect(page.get_by_role("heading", name="What arrived")).to_be_visible()
    page.goto(f"{opened.url}/?chart=tokens")
    expect(page.locator(".chart path").first).to_be_attached()


def test_hostile_names_do_nothing(opened):
    """Followed by their links, as a browser resolves them; whatever runs or is asked for fails the test."""
    page = opened.page
    opened.go("/runs?sort=since")
    names, found = {name.replace("\0", "\ufffd") for name in HOSTILE}, {}
    while True:
        rows = page.locator("tr[data-run]").evaluate_all("all => all.map(row => [row.dataset.run, row.dataset.href])")
        found.update({run: href for run, href in rows if run in names})
        if not (more := page.get_by_role("link", name="Next")).count():
            break
        more.click()
        page.wait_for_selector("html.js")
    assert set(found) == names
    for run, href in found.items():
        page.goto(f"{opened.url}{href}")
        assert page.locator("[data-of-run]").get_attribute("data-of-run") == run
        expect(page.locator(".run-head h1")).to_be_visible()
    opened.go("/alerts?state=all")
    opened.go("/dead-letters")


def test_everybody_can_read_what_opens(opened):
    page = opened.page
    opened.go("/runs")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#drawer .timeline")).to_be_visible()
    assert complaints(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert complaints(page) == []
    opened.go("/runs")
    page.get_by_label("Filter").fill("status:")
    expect(page.get_by_role("listbox", name="Completions")).to_be_visible()
    assert complaints(page) == []
    opened.go("/dead-letters")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_label("Type the number")).to_be_visible()
    assert complaints(page) == []


def test_an_error_is_a_page_that_everybody_can_read(opened):
    opened.watched.missing = True
    for path in ("/runs/nope", "/runs?q=foo:bar", "/nothing"):
        opened.go(path)
        assert complaints(opened.page) == []
