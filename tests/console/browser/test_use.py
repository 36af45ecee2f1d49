"""What people do with the pages: filter, go by keys, look into a run, send letters back."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.fleet import NOW_MS


def ids(page):
    return page.locator("tr[data-run]").evaluate_all("all => all.map(row => row.dataset.run)")


def test_a_cell_filters_for_its_value_and_with_alt_without_it(opened):
    page = opened.page
    opened.go("/runs")
    cell = page.locator(".c-model .cell a:first-child").first
    model = cell.inner_text()
    cell.click()
    page.wait_for_url("**/runs?q=model*")
    assert set(page.locator(".c-model .cell a:first-child").all_inner_texts()) == {model}
    opened.go("/runs")
    page.locator(".c-model .cell a:first-child").first.click(modifiers=["Alt"])
    page.wait_for_url("**/runs?q=-model*")
    assert model not in page.locator(".c-model .cell a:first-child").all_inner_texts()


def test_the_filter_outlives_a_reload_and_the_way_back(opened):
    page = opened.page
    opened.go("/runs")
    page.get_by_label("Filter").fill("status:failed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs?q=status*")
    page.get_by_label("Sort").select_option("longest in their status")
    page.wait_for_url("**sort=since*")
    before = ids(page)
    page.reload()
    assert ids(page) == before
    page.go_back()
    expect(page.get_by_label("Filter")).to_have_value("status:failed")


def test_the_bar_completes_names_and_values(opened):
    page = opened.page
    opened.go("/runs")
    bar = page.get_by_label("Filter")
    bar.press_sequentially("sta")
    offered = page.get_by_role("listbox", name="Completions").get_by_role("option")
    expect(offered).to_have_count(1)
    page.keyboard.press("Tab")
    expect(bar).to_have_value("status:")
    bar.press_sequentially("f")
    expect(offered).to_have_text([re.compile("^status:failed")])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(bar).to_have_value("status:failed ")
    bar.press_sequentially("is:ov")
    page.keyboard.press("Tab")
    expect(bar).to_have_value("status:failed is:overdue ")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs?q=status%3Afailed+is%3Aoverdue")


def test_keys_lead_from_the_list_into_a_run_and_back(opened):
    page = opened.page
    opened.go("/runs")
    first, second, third = ids(page)[:3]
    drawer = page.locator("#drawer")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(drawer.locator(f'[data-copy="{second}"]')).to_be_visible()
    page.keyboard.press("j")
    expect(drawer.locator(f'[data-copy="{third}"]')).to_be_visible()
    page.keyboard.press("k")
    page.keyboard.press("k")
    expect(drawer.locator(f'[data-copy="{first}"]')).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    page.keyboard.press("Enter")
    expect(drawer).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{first}")
    page.go_back()
    assert ids(page)[0] == first


def test_keys_are_letters_where_somebody_types(opened):
    page = opened.page
    opened.go("/runs")
    page.keyboard.press("/")
    bar = page.get_by_label("Filter")
    expect(bar).to_be_focused()
    page.keyboard.type("jkrt?/")
    expect(bar).to_have_value("jkrt?/")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(bar).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_slash_finds_from_any_page(opened):
    opened.go("/pipeline")
    opened.page.keyboard.press("/")
    opened.page.keyboard.type("is:open")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_url("**/runs?q=is%3Aopen")


def test_r_asks_anew(opened):
    page = opened.page
    opened.go("/runs")
    page.evaluate("window.old = true")
    page.keyboard.press("r")
    page.wait_for_function("window.old === undefined")


def test_the_theme_is_kept(opened):
    page = opened.page
    opened.go("/")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    for theme in ("light", "dark"):
        page.keyboard.press("t")
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
    dark = page.evaluate(background)
    opened.go("/runs")
    assert page.evaluate(background) == dark
    page.keyboard.press("t")
    expect(page.locator("html")).not_to_have_attribute("data-theme", re.compile(".*"))


def test_times_are_shown_in_utc_local_or_relative(opened):
    """New York is five hours behind in December."""
    page = opened.page
    opened.go("/runs")
    seen, switch = page.locator(".c-seen time").first, page.locator("[data-times]")
    hour = int(seen.inner_text()[:2])
    switch.click()
    expect(seen).to_have_text(re.compile(f"^{(hour - 5) % 24:02}:"))
    switch.click()
    expect(seen).to_have_text(re.compile(" ago$"))
    opened.go("/alerts")
    expect(page.locator(".c-seen time").first).to_have_text(re.compile(" ago$"))
    switch.click()
    expect(switch).to_have_text("Times: UTC")


@pytest.mark.parametrize("options", [{"permissions": ["clipboard-read", "clipboard-write"]}], ids=["clipboard"])
def test_an_id_is_copied_whole(opened):
    page = opened.page
    opened.go("/runs")
    page.locator("tr[data-run] .c-run .copy").first.click()
    expect(page.locator("[data-said]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == ids(page)[0]


def test_the_chart_zooms_and_is_left_alone_then(opened):
    page = opened.page
    opened.go("/")
    box = page.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 40, steps=5)
    page.mouse.up()
    expect(page.locator("[data-chart]")).to_have_attribute("data-zoomed", "")
    page.locator(".u-over").dblclick(position={"x": 100, "y": 40})
    expect(page.locator("[data-chart]")).not_to_have_attribute("data-zoomed", "")


def replayed(page):
    page.get_by_role("button", name="Replay").click()
    return page.get_by_role("dialog", name="Replay dead letters")


def test_letters_are_sent_back_after_a_dry_run_and_its_number(opened):
    page, api = opened.page, opened.site.api
    opened.go("/dead-letters?reason=bad_time")
    dialog = replayed(page)
    number = dialog.get_by_label("Type the number")
    expect(number).to_be_focused()
    count = api.replays[0]
    assert (count["dry_run"], count["reason"], count["expected"]) == (True, "bad_time", None)
    found = int(re.search(r"\d+", dialog.locator("strong").inner_text())[0])
    expect(dialog.get_by_role("listitem")).to_have_text([api.WARNING])
    number.fill(str(found + 1))
    expect(dialog.get_by_role("button", name="Send back")).to_be_disabled()
    number.fill(str(found))
    dialog.get_by_role("button", name="Send back").click()
    expect(dialog.locator("strong")).to_have_text(f"{found} were sent back.")
    assert (api.replays[1]["dry_run"], api.replays[1]["expected"]) == (False, found)
    dialog.get_by_role("button", name="Done").click()
    expect(page.locator(".c-replayed .none")).to_have_count(0)


def test_letters_that_are_chosen_are_sent_back_alone(opened):
    page, api = opened.page, opened.site.api
    opened.go("/dead-letters?open=1")
    page.locator("[data-place]").nth(0).check()
    page.locator("[data-place]").nth(1).check()
    dialog = replayed(page)
    expect(dialog.locator("strong")).to_have_text("2 would be sent back.")
    assert len(api.replays[0]["places"]) == 2


def test_a_number_that_has_changed_is_asked_for_anew(opened):
    """What was confirmed is not what would be sent."""
    opened.watched.missing = True
    page = opened.page
    opened.go("/dead-letters?reason=bad_time")
    dialog = replayed(page)
    number = dialog.get_by_label("Type the number")
    expect(number).to_be_focused()
    found = int(re.search(r"\d+", dialog.locator("strong").inner_text())[0])
    next(one for one in opened.site.reads.mail if one.reason == "bad_time" and not one.replayed_at).replayed_at = NOW_MS
    number.fill(str(found))
    number.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text(f"there are {found - 1} such letters now")
    expect(dialog.locator("strong")).to_have_text(f"{found - 1} would be sent back.")
    expect(number).to_have_value("")
