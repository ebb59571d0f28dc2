"""Every page in real Chromium: accessible, no wider than any screen, and asking nobody outside."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.looking import BUT_CONTRAST, DESKTOP, PHONE, TABLET, WHOLE, Screen, problems

# Pages of claims are looked at on every screen, the others on two.
OF_CLAIMS = [
    "/",
    "/answers/?about=memory&phase=inference&memory=24",
    "/taxonomy/",
    "/taxonomy/quantization/",
    "/taxonomy/quantization/chart/",
    "/claims/dettmers2022llmint8-1/",
    "/compare/?strategies=distillation,pruning,quantization",
    "/publications/?strategy=pruning&phase=inference",
    "/publications/zheng2023sglang/",
    "/replication/?outcome=supported&testable=no",
    "/frameworks/?q=system",
    "/case-studies/",
]
OTHERS = [
    "/about/",
    "/search/?q=quantizaton",
    "/prisma/",
    "/prisma/edit/?database_results=983&records_screened=990&totals=on",
    "/case-studies/sparsegpt/",
    "/equations/",
    "/runs/1/",
    "/sweeps/",
    "/contributions/",
    "/dashboards/",
    "/sign-in/",
    "/nope/",
    "/publications/?strategy=nope",
]
# Pages like one above, of which other numbers or other parts are shown.
LIKE_ONE_ABOVE = [
    "/taxonomy/?pivot=class&select=strategy:pruning",
    "/taxonomy/model-cascade/",
    "/publications/",
    "/publications/?q=sparse&class=inference&from=2022",
    "/publications/?objective=memory&phase=inference&device_memory=24",
    "/publications/?q=nothingmatchesthis",
    "/publications/frantar2023sparsegpt/",
    "/claims/frantar2023qmoe-0/",
    "/claims/nobody2020-0/",
    "/compare/",
    "/compare/?classes=inference,serving,training",
    "/compare/?publications=frantar2022gptq,frantar2023sparsegpt",
    "/replication/",
    "/frameworks/",
    "/frameworks/?q=nothingmatchesthis",
    "/search/?q=nothingmatchesthis",
    "/search/?q=speedup&group=claims",
    "/prisma/?variant=updated-v2",
    "/case-studies/pipeline-parallel/",
    "/dashboards/?study=all",
]
NOT_THERE = {"/claims/nobody2020-0/", "/nope/"}
# What axe looks for on each screen. The scheme changes nothing but contrast, which takes most of
# the time and hardly depends on the width: it is looked at once in each.
LOOKS: dict[str, dict[Screen, dict[str, Any] | None]] = {
    **{key: {DESKTOP: WHOLE, TABLET: BUT_CONTRAST, PHONE: WHOLE} for key in OF_CLAIMS},
    **{key: {DESKTOP: WHOLE, PHONE: WHOLE} for key in OTHERS},
    **{key: {DESKTOP: None, PHONE: WHOLE} for key in LIKE_ONE_ABOVE},
}


@pytest.mark.parametrize("address", LOOKS)
def test_the_page_is_accessible_and_fits(open_page: OpenPage, address: str) -> None:
    page = open_page()
    answer = page.goto(address)
    assert answer
    assert (answer.status == 404) == (address in NOT_THERE)
    page.wait_for_load_state("load")
    assert problems(page, LOOKS[address]) == []
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize(
    "address", ["/compare/?strategies=distillation,pruning,quantization", "/dashboards/"]
)
def test_charts_are_drawn_with_their_table_behind_them(open_page: OpenPage, address: str) -> None:
    page = open_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page.goto(address)
    charts = page.locator(".chart")
    assert charts.count() >= 1
    for chart in charts.all():
        chart.scroll_into_view_if_needed()
        expect(chart.locator(".drawing, .plot svg.main-svg").first).to_be_visible()
        chart.get_by_text("Table behind this chart").click()
        assert chart.locator("tbody tr").count() >= 1
