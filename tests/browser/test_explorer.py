"""The explorer in real Chromium: one selection in three views, kept while moving about."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage


def item(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem", name=re.compile(f"^{name}"))


def test_a_click_in_the_chart_selects_in_the_tree_and_the_map(page: Page) -> None:
    page.goto("/taxonomy/")
    page.evaluate("window.sameDocument = true")
    page.locator("#icicle .slice", has_text="Hardware").locator("path").first.click()
    expect(page).to_have_url(re.compile(r"select=family:hardware-optimization$"))
    expect(item(page, "Hardware optimization")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("row", name=re.compile("^Pruning"))).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("^Offloading"))).to_be_visible()
    expect(page).to_have_title(re.compile("^Hardware optimization"))
    page.locator("#icicle svg.main-svg").first.wait_for()
    assert page.evaluate("window.sameDocument"), "the page is not loaded anew"
    page.go_back()
    expect(page.get_by_role("heading", name="Nothing selected")).to_be_visible()
    page.locator("#icicle svg.main-svg").first.wait_for()


def test_closed_branches_stay_closed_and_an_asterisk_opens_them(page: Page) -> None:
    page.goto("/taxonomy/")
    family = item(page, "Training optimization")
    family.locator(".twisty").click()
    expect(item(page, "Pruning")).to_be_hidden()
    item(page, "Hardware optimization").click()
    expect(page).to_have_url(re.compile("select=family:hardware"))
    expect(item(page, "Hardware optimization")).to_be_focused()
    expect(item(page, "Pruning")).to_be_hidden()
    page.keyboard.press("*")
    expect(item(page, "Pruning")).to_be_visible()
    assert page.locator("[role=treeitem][tabindex='0']").count() == 1


def test_without_javascript_links_select_and_a_button_searches(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/taxonomy/?pivot=class")
    item(page, "Quantization").first.click()
    expect(page.get_by_role("heading", name=re.compile("^Quantization"))).to_be_visible()
    page.get_by_label("Search in the tree").fill("kv-")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(re.compile("pivot=class.*q=kv-"))
    expect(item(page, "KV-cache management")).to_have_count(2)


def test_the_tree_is_scrolled_to_the_selected_item(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 1440, "height": 1100})
    page.goto("/taxonomy/?pivot=class&select=strategy:model-cascade")
    expect(item(page, "Model cascades")).to_be_in_viewport()
    item(page, "Multi-tenant adapters").click()
    expect(page).to_have_url(re.compile("multi-tenant"))
    expect(item(page, "Multi-tenant adapters")).to_be_in_viewport()
