"""Live, without disturbing: figures change in place, lists wait to be asked, nothing moves under somebody's eyes."""

import re
from urllib.parse import urlencode

from playwright.sync_api import expect

from streamproc.console.reads import Busy
from tests.support.browser import until

BEHIND = "document.hasFocus = () => false; dispatchEvent(new Event('blur'))"
IN_FRONT = "delete document.hasFocus; dispatchEvent(new Event('focus'))"
HIDDEN = """(hidden) => {
  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def ids(page):
    return page.locator("tr[data-run]").evaluate_all("all => all.map(row => row.dataset.run)")


def an_open_run(site, status="in_progress"):
    return next(life.run.run_id for life in site.reads.lives.values() if life.run.status == status)


def failed(page):
    return page.locator(".states tr").filter(has_text="failed").locator("td").first


def test_figures_change_in_place(opened):
    page, site = opened.page, opened.site
    opened.go("/")
    before = int(failed(page).inner_text())
    opened.listened()
    site.reads.move(an_open_run(site), "failed")
    expect(failed(page)).to_have_text(str(before + 1))


def test_the_list_counts_what_is_new_and_shows_it_when_asked(opened):
    page, site = opened.page, opened.site
    opened.go("/runs")
    opened.listened()
    before, runs = ids(page), [an_open_run(site), an_open_run(site, "requires_action")]
    for run in runs:
        site.reads.move(run, "completed")
    pill = page.locator("[data-pill]")
    expect(pill).to_have_text("2 new")
    assert ids(page) == before
    pill.click()
    expect(pill).to_be_hidden()
    expect(page.locator("tr[data-run]").first).to_have_attribute("data-run", runs[1])


def test_only_what_the_filter_lets_through_is_counted(opened):
    page, site = opened.page, opened.site
    opened.go("/runs?q=status:failed")
    opened.listened()
    site.reads.move(an_open_run(site), "completed")
    site.reads.move(an_open_run(site), "failed")
    expect(page.locator("[data-pill]")).to_have_text("1 new")


def test_what_a_transition_does_not_tell_counts_too(opened):
    """Who is of a thread, what is overdue: the server judges, whatever the filter and the order are."""
    page, site = opened.page, opened.site
    thread = next(life.run.thread_id for life in site.reads.lives.values() if life.run.thread_id and life.run.is_open)
    mine = next(life.run.run_id for life in site.reads.lives.values() if life.run.thread_id == thread)
    other = next(life.run.run_id for life in site.reads.lives.values() if life.run.thread_id != thread)
    opened.go(f"/runs?{urlencode({'q': f'thread:{thread}', 'sort': 'since'})}")
    opened.listened()
    site.reads.move(other, "completed")
    site.reads.move(mine, "completed")
    expect(page.locator("[data-pill]")).to_have_text("1 new")


def test_a_row_that_has_changed_stays_and_says_so(opened):
    page, site = opened.page, opened.site
    opened.go("/runs?q=is:open")
    opened.listened()
    row = page.locator("tr[data-run]").nth(3)
    run = row.get_attribute("data-run")
    site.reads.move(run, "failed")
    expect(row).to_have_class("changed")
    expect(row).to_have_attribute("title", "now failed")
    expect(row).to_have_attribute("data-run", run)


def test_an_open_drawer_holds_everything_and_closing_it_says_so(opened):
    page, site = opened.page, opened.site
    opened.go("/runs")
    opened.listened()
    page.locator("tr[data-run] .c-age").first.click()
    expect(page.locator("#drawer")).to_be_visible()
    live = page.locator("[data-live]")
    expect(live).to_have_text("Paused")
    run = an_open_run(site)
    site.reads.move(run, "completed")
    row = page.locator(f'tr[data-run="{run}"]')
    if row.count():
        expect(row).to_have_class("changed")
    expect(page.locator("[data-pill]")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("[data-pill]")).to_have_text("1 new")
    expect(page.locator("[data-said]")).to_have_text("Live again")
    expect(live).to_have_text("Live")


def test_a_window_behind_others_is_paused_unless_it_is_to_be_live_always(opened):
    page, site = opened.page, opened.site
    opened.go("/")
    opened.listened()
    live = page.locator("[data-live]")
    page.evaluate(BEHIND)
    expect(live).to_have_text("Paused")
    before = int(failed(page).inner_text())
    asked = site.reads.overviews
    site.reads.move(an_open_run(site), "failed")
    page.evaluate(IN_FRONT)
    expect(page.locator("[data-said]")).to_have_text("Live again")
    expect(failed(page)).to_have_text(str(before + 1))
    assert site.reads.overviews > asked
    page.evaluate(BEHIND)
    live.click()
    expect(live).to_have_text("Live, always")
    site.reads.move(an_open_run(site), "failed")
    expect(failed(page)).to_have_text(str(before + 2))


def test_a_page_that_is_hidden_gives_its_connection_back(opened):
    """A browser has six for each host. What was missed is asked of the server, or the page offers to look again."""
    page, site = opened.page, opened.site
    run = an_open_run(site)
    for path, offered in (("/runs", "1 new"), (f"/runs/{run}", "Look again")):
        opened.go(path)
        opened.listened()
        page.evaluate(HIDDEN, True)
        until(lambda: not site.reads.listeners)
        site.reads.move(run, "failed" if path == "/runs" else "completed")
        page.evaluate(HIDDEN, False)
        opened.listened()
        expect(page.locator("[data-pill]")).to_have_text(offered)


def test_a_run_offers_what_came_since(opened):
    page, site = opened.page, opened.site
    run = an_open_run(site)
    opened.go(f"/runs/{run}")
    opened.listened()
    site.reads.move(an_open_run(site, "requires_action"), "completed")
    site.reads.move(run, "completed")
    pill = page.locator("[data-pill]")
    expect(pill).to_have_text("1 new")
    pill.click()
    expect(page.locator(".standing .badge").first).to_have_text("completed")


def test_a_run_that_was_not_here_yet_appears(opened):
    opened.watched.missing = True
    page, reads = opened.page, opened.site.reads
    run, life = next(iter(reads.lives.items()))
    del reads.lives[run]
    opened.go(f"/runs/{run}")
    expect(page.get_by_role("heading", name="Not here yet, or not at all")).to_be_visible()
    reads.lives[run] = life
    expect(page.get_by_role("heading", name=re.compile("What arrived"))).to_be_visible()


def test_a_console_that_fails_is_said_to_until_it_answers(opened):
    opened.watched.missing = True
    page, site = opened.page, opened.site
    opened.go("/")
    opened.listened()
    site.reads.failure = Busy()
    site.reads.move(an_open_run(site), "failed")
    said = page.locator("[data-said]")
    expect(said).to_have_text("The console answers 503")
    site.reads.failure = None
    site.reads.move(an_open_run(site), "failed")
    expect(said).to_have_text("")


def test_nothing_is_replaced_while_somebody_types_into_it(opened):
    """The chart's form is in a part that is fetched anew."""
    page = opened.page
    opened.go("/")
    field = page.get_by_label("Assistant")
    field.fill("asst_")
    assert page.evaluate("document.activeElement.closest('[data-part]').dataset.part") == "chart"
    expect(field).to_have_value("asst_")


def test_ages_go_on_counting_and_the_chart_is_drawn_anew(opened):
    """By a clock of the test's own."""
    page = opened.page
    page.clock.install()
    opened.go("/")
    expect(page.locator(".uplot")).to_be_visible()
    age = page.locator(".alerts time").first
    before = age.inner_text()
    with page.expect_response(re.compile("fragment=chart")):
        page.clock.run_for(31_000)
    expect(age).not_to_have_text(before)
    expect(page.locator(".uplot")).to_have_count(1)
