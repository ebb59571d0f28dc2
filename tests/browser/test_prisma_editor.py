"""The PRISMA editor in real Chromium: red turns to green as one types, and without JavaScript."""

import csv
import io
import re
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

NUMBERS = {
    "database_results": "160",
    "register_results": "0",
    "duplicates": "20",
    "excluded_automatic": "0",
    "excluded_other": "0",
    "records_screened": "139",
}
DEVICES = [
    {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    {"viewport": {"width": 768, "height": 1024}, "color_scheme": "dark"},
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
]


def test_a_check_turns_from_red_to_green_as_one_types(page: Page) -> None:
    page.goto(f"/prisma/edit/?{urlencode(NUMBERS)}")
    check = page.locator(".checked li").filter(has_text="E2")
    expect(check).to_have_class("bad")
    expect(check).to_contain_text("139, but 160 + 0 − 20 − 0 − 0 = 140")
    field = page.get_by_label("Records screened", exact=True)
    field.fill("14x")
    expect(page.get_by_text("These cannot be read yet")).to_be_visible()
    field.fill("140")
    expect(check).to_have_class("good")
    expect(page.get_by_role("status").filter(has_text="0 do not hold")).to_be_visible()
    page.get_by_label("Printed label of Records screened").fill("Titles read")
    expect(page.locator("svg").get_by_text("Titles read")).to_be_visible()
    expect(field).to_have_value("140")
    page.get_by_role("link", name="Link to this diagram").click()
    expect(page).to_have_url(re.compile("records_screened=140.*label.records_screened=Titles"))
    expect(page.get_by_label("Records screened", exact=True)).to_have_value("140")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    rows = csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8")))
    kept = {row["data"]: (row["boxtext"], row["n"]) for row in rows}
    assert kept["records_screened"] == ("Titles read", "140")


def test_a_file_is_drawn_and_edited_without_javascript(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False, viewport={"width": 1440, "height": 900})
    page.goto("/prisma/")
    text = page.request.get("/prisma/template.csv").text()
    for key, n in NUMBERS.items():
        text = re.sub(rf"(\n{key},(?:[^,]*,){{6}})NA", rf"\g<1>{n}", text, count=1)
    european = io.StringIO()
    csv.writer(european, delimiter=";").writerows(csv.reader(io.StringIO(text)))
    data = european.getvalue().encode("cp1252")
    page.set_input_files(
        "input[type=file]", {"name": "mine.csv", "mimeType": "text/csv", "buffer": data}
    )
    page.get_by_role("button", name="Draw the diagram").click()
    expect(page.get_by_text("read as separated by semicolons")).to_be_visible()
    page.get_by_role("button", name="Edit numbers and labels").click()
    check = page.locator(".checked li").filter(has_text="E2")
    expect(check).to_have_class("bad")
    page.get_by_label("Records screened", exact=True).fill("140")
    page.get_by_role("button", name="Draw again").click()
    expect(check).to_have_class("good")
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF").click()
    assert download.value.path().read_bytes().startswith(b"%PDF")


def test_a_refused_file_is_mended_where_its_line_is_marked(page: Page) -> None:
    page.goto("/prisma/")
    page.get_by_role("link", name="Draw your own").click()
    text = page.request.get("/prisma/template.csv").text()
    wrong = re.sub(r"(\nduplicates,(?:[^,]*,){6})NA", r"\g<1>about 20", text, count=1)
    page.set_input_files(
        "input[type=file]", {"name": "mine.csv", "mimeType": "text/csv", "buffer": wrong.encode()}
    )
    page.get_by_role("button", name="Draw the diagram").click()
    line = page.get_by_role("region", name="Lines to mend").get_by_role("listitem")
    expect(line).to_contain_text("“about 20” is not a whole number")
    assert line.get_attribute("value") == "14"
    box = page.get_by_label("or its text")
    box.fill(box.input_value().replace("about 20", "20"))
    page.get_by_role("button", name="Draw the diagram").click()
    expect(page.locator("svg").get_by_text("(n = 20)")).to_be_visible()


@pytest.mark.parametrize("device", DEVICES, ids=["desktop", "tablet", "phone"])
def test_pages_made_from_a_file_are_accessible_and_fit(
    open_page: OpenPage, device: dict[str, object]
) -> None:
    page = open_page(**device)
    page.goto("/prisma/")
    text = page.request.get("/prisma/template.csv").text()

    def check() -> None:
        found = Axe().run(page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    for changed in (text.replace("NA", "?").replace(",box4,", ",box5,"), text):
        page.goto("/prisma/")
        page.get_by_label("or its text").fill(changed)
        page.get_by_role("button", name="Draw the diagram").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your PRISMA 2020 flow diagram")
        check()
    page.get_by_role("button", name="Edit numbers and labels").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Edit a PRISMA 2020 flow diagram")
    check()
