"""What people come to do, done with mouse, keyboard and no JavaScript, in real Chromium."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage


def test_the_tree_is_walked_with_the_arrow_keys(page: Page) -> None:
    page.goto("/taxonomy/")
    first = page.get_by_role("treeitem", name=re.compile("^Training optimization"))
    first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("treeitem", name=re.compile("^Model optimization"))).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem", name=re.compile("^Algorithmic"))).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("treeitem", name=re.compile("^Algorithmic"))).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("treeitem", name=re.compile("^Model cascades"))).to_be_focused()
    page.keyboard.press("Home")
    expect(first).to_be_focused()
    page.keyboard.type("size")
    expect(page.get_by_role("treeitem", name=re.compile("^Size reduction"))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("select="))
    expect(
        page.get_by_role("heading", name=re.compile("^Size reduction optimization"))
    ).to_be_visible()


def test_searching_the_tree_keeps_the_ancestors(page: Page) -> None:
    page.goto("/taxonomy/")
    page.get_by_label("Search in the tree").fill("prun")
    expect(page.get_by_role("treeitem", name=re.compile("^Quantization"))).to_have_count(0)
    names = page.get_by_role("treeitem").locator(".name").all_inner_texts()
    assert names == ["Training optimization", "Size reduction optimization", "Pruning"]


def test_a_cell_of_the_gap_map_opens_the_claims_behind_it(page: Page) -> None:
    page.goto("/taxonomy/")
    row = page.get_by_role("row", name=re.compile("^Speculative decoding"))
    row.get_by_role("link", name=re.compile("throughput: strongest .*publications: 2")).click()
    expect(page).to_have_url(
        re.compile(r"/taxonomy/speculative-decoding/\?objective=throughput#claims$")
    )
    expect(page.get_by_role("heading", name="Speculative decoding", exact=True)).to_be_visible()


def test_facets_narrow_the_list_and_a_chip_widens_it_again(page: Page) -> None:
    page.goto("/publications/")
    page.locator("#facets summary", has_text="Membership").click()
    page.get_by_role("checkbox", name=re.compile("^Named")).check()
    expect(page).to_have_url(re.compile("membership=named"))
    expect(page.get_by_text(re.compile("^12 publications"))).to_be_visible()
    page.get_by_role("checkbox", name=re.compile("^LLM training")).check()
    expect(page).to_have_url(re.compile("class=training"))
    page.go_back()
    expect(page.get_by_text(re.compile("^12 publications"))).to_be_visible()
    page.get_by_role("link", name=re.compile("Named")).first.click()
    expect(page.get_by_text(re.compile("^73 publications"))).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 800)])
def test_a_facet_that_is_ticked_stays_where_it_stands(
    open_page: OpenPage, width: int, height: int
) -> None:
    page = open_page(viewport={"width": width, "height": height})
    page.goto("/publications/")
    page.evaluate("document.querySelectorAll('#facets details').forEach(d => d.open = true)")
    facet = page.get_by_role("checkbox", name=re.compile("^Elastic"))
    facet.scroll_into_view_if_needed()
    before = facet.bounding_box()
    facet.check()
    expect(page).to_have_url(re.compile("strategy=elastic-scaling"))
    expect(page.get_by_role("link", name=re.compile("^Remove.*Elastic"))).to_be_attached()
    expect(facet).to_be_checked()
    expect(facet).to_be_focused()
    assert facet.bounding_box() == before


def test_facets_work_without_javascript(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False, viewport={"width": 1440, "height": 900})
    page.goto("/publications/")
    page.locator("#facets summary", has_text="Membership").click()
    page.get_by_role("checkbox", name=re.compile("^Named")).check()
    page.locator("form").filter(
        has=page.get_by_role("checkbox", name=re.compile("^Named"))
    ).get_by_role("button").first.click()
    expect(page).to_have_url(re.compile("membership=named"))
    expect(page.get_by_text(re.compile("^12 publications"))).to_be_visible()


def test_search_finds_everything_and_the_list_marks_the_words(page: Page) -> None:
    page.goto("/")
    page.get_by_role("searchbox", name="Search everything").fill("prunned")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/search/.q=prunned"))
    page.get_by_role("link", name="pruned", exact=True).click()
    expect(page.get_by_role("heading", name="Strategies")).to_be_visible()
    page.get_by_role("link", name=re.compile("^(All .* publications|In the list)")).click()
    expect(page).to_have_url(re.compile("/publications/.q=pruned"))
    expect(page.locator("mark").first).to_be_visible()


def test_memory_for_inference_on_24_gb_is_answered_with_one_click_from_home(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Answer").click()
    expect(page).to_have_url(re.compile(r"/answers/\?about=memory&phase=inference&memory=24"))
    expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile("^Memory for inference on a device of up to 24")
    )
    expect(page.get_by_text(re.compile("^None of the three claims about memory"))).to_be_visible()
    expect(page.get_by_role("heading", name="Measured here")).to_be_visible()
    # Another question: the same form, filled with what was asked.
    page.get_by_label("What about?").select_option("speed")
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_text(re.compile("^Four of the 28 claims about speed"))).to_be_visible()
    page.get_by_role("link", name="AWQ").first.click()
    expect(page).to_have_url(re.compile("/claims/lin2023awq-2/"))


def test_two_frameworks_are_ticked_and_compared_without_javascript(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page.goto("/frameworks/?kind=library&sort=name")
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.get_by_role("button", name="Compare those ticked").click()
    expect(page).to_have_url(re.compile("/compare/.publications="))
    assert page.get_by_role("columnheader").count() >= 2


def compare_two(page: Page) -> None:
    for slug in ("pruning", "quantization"):
        page.goto(f"/taxonomy/{slug}/")
        page.get_by_role("button", name=re.compile("^Compare")).click()
        expect(page.get_by_role("button", name=re.compile("In tray"))).to_be_visible()
    page.goto("/about/")
    page.get_by_role("complementary").get_by_role("link", name=re.compile("^Compare")).click()
    expect(page).to_have_url(re.compile(r"strategies=pruning(,|%2C)quantization"))
    expect(page.get_by_role("columnheader", name=re.compile("Pruning"))).to_be_visible()
    expect(page.get_by_role("columnheader", name=re.compile("Quantization"))).to_be_visible()


def test_the_tray_follows_the_user_to_the_comparison(page: Page) -> None:
    compare_two(page)
    rows = page.get_by_role("rowheader").count()
    page.get_by_text("Differences only").click()
    expect(page).to_have_url(re.compile("diff=1"))
    assert 0 < page.get_by_role("rowheader").count() < rows


def test_the_tray_works_without_javascript(open_page: OpenPage) -> None:
    compare_two(open_page(java_script_enabled=False, viewport={"width": 1440, "height": 900}))


def test_an_author_draws_a_diagram_from_a_filled_csv(page: Page) -> None:
    page.goto("/prisma/")
    empty = page.request.get("/prisma/template.csv").text()
    text = re.sub(r"(database_results,(?:[^,]*,){6})NA", r"\g<1>160", empty, count=1)
    page.set_input_files(
        "input[type=file]", {"name": "mine.csv", "mimeType": "text/csv", "buffer": text.encode()}
    )
    page.get_by_role("button", name="Draw the diagram").click()
    expect(page.get_by_role("heading", name="Your PRISMA 2020 flow diagram")).to_be_visible()
    expect(page.get_by_text("(n = 160)")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF").click()
    assert download.value.path().read_bytes().startswith(b"%PDF")


def test_the_first_tab_skips_to_the_content(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
