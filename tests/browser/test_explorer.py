"""The explorer in real Chromium: a selection, an order and filters, kept while moving about."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage


def item(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem", name=re.compile(f"^{name}"))


def test_a_selected_branch_is_marked_in_the_map_and_stays_where_it_was(page: Page) -> None:
    page.goto("/taxonomy/")
    page.evaluate("window.sameDocument = true")
    hardware = item(page, "Hardware optimization")
    hardware.scroll_into_view_if_needed()
    before = hardware.bounding_box()
    hardware.click()
    expect(page).to_have_url(re.compile(r"select=family:hardware-optimization$"))
    expect(hardware).to_have_attribute("aria-selected", "true")
    expect(page).to_have_title(re.compile("^Hardware optimization"))
    expect(page.locator("tr.selected")).to_have_count(7)
    expect(page.get_by_role("row", name=re.compile("^Offloading"))).to_have_class("selected")
    assert hardware.bounding_box() == before
    assert page.evaluate("window.sameDocument"), "the page is not loaded anew"
    page.go_back()
    expect(page.get_by_role("heading", name="Nothing selected")).to_be_visible()
    expect(page.locator("tr.selected")).to_have_count(0)


def test_the_map_is_sorted_and_filtered_without_loading_the_page_anew(page: Page) -> None:
    page.goto("/taxonomy/")
    page.evaluate("window.sameDocument = true")
    names = page.locator("table.atlas tbody th[scope=row]")
    page.get_by_role("link", name=re.compile("Sort by.*Memory")).click()
    expect(page).to_have_url(re.compile(r"\?sort=memory$"))
    expect(names.first).to_have_text("Quantization")
    page.get_by_label("Device memory").select_option("at-most")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("sort=memory.*memory=at-most&gb=24"))
    expect(page.get_by_role("button", name="Apply")).to_be_focused()
    expect(names).to_have_count(31)
    page.get_by_role("link", name="All filters off").click()
    expect(page).to_have_url(re.compile(r"\?sort=memory$"))
    assert page.evaluate("window.sameDocument"), "the page is not loaded anew"


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_map_needs_no_scroller_and_its_cells_are_wide_enough_to_touch(
    open_page: OpenPage, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    page.goto("/taxonomy/")
    cells = page.locator("table.atlas td:not(.filed)")
    widths = cells.evaluate_all("all => all.map((cell) => cell.getBoundingClientRect().width)")
    assert len(widths) == 31 * 9
    assert min(widths) >= 24
    overflow = """all => all.filter((e) => !e.closest("details")
        && e.scrollWidth > e.clientWidth + 1
        && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)).length"""
    assert page.locator("main *").evaluate_all(overflow) == 0
    heads = page.locator("table.atlas thead .t")
    assert heads.evaluate_all("all => all.every((e) => e.scrollWidth <= e.clientWidth + 1)")


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
