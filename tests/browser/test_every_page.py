"""Every page in real Chromium: accessible, no wider than the screen, and asking nobody outside."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

PAGES = [
    "/",
    "/about/",
    "/taxonomy/",
    "/taxonomy/?pivot=class&select=strategy:pruning",
    "/taxonomy/quantization/",
    "/taxonomy/model-cascade/",
    "/publications/",
    "/publications/?q=sparse&class=inference&from=2022",
    "/publications/?strategy=pruning&phase=inference",
    "/publications/?objective=memory&phase=inference&device_memory=24",
    "/publications/?q=nothingmatchesthis",
    "/search/?q=quantizaton",
    "/search/?q=nothingmatchesthis",
    "/search/?q=speedup&group=claims",
    "/publications/frantar2023sparsegpt/",
    "/publications/zheng2023sglang/",
    "/claims/frantar2023qmoe-0/",
    "/claims/dettmers2022llmint8-1/",
    "/claims/nobody2020-0/",
    "/compare/",
    "/compare/?strategies=distillation,pruning,quantization",
    "/compare/?publications=frantar2022gptq,frantar2023sparsegpt",
    "/answers/?about=memory&phase=inference&memory=24",
    "/replication/",
    "/replication/?outcome=supported&testable=no",
    "/frameworks/",
    "/frameworks/?q=nothingmatchesthis",
    "/prisma/",
    "/prisma/?variant=updated-v2",
    "/prisma/edit/?database_results=983&records_screened=990&totals=on",
    "/case-studies/",
    "/case-studies/sparsegpt/",
    "/case-studies/pipeline-parallel/",
    "/equations/",
    "/runs/1/",
    "/sweeps/",
    "/dashboards/",
    "/dashboards/?study=all",
    "/sign-in/",
    "/nope/",
    "/publications/?strategy=nope",
]
DESKTOP = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("address", PAGES)
def test_the_page_is_accessible_and_fits(
    open_page: OpenPage, address: str, device: dict[str, object]
) -> None:
    page = open_page(**device)
    page.goto(address)
    page.wait_for_load_state("load")
    violations = Axe().run(page).response["violations"]
    serious = [
        f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:200]}"
        for v in violations
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize(
    "address", ["/compare/?strategies=distillation,pruning,quantization", "/dashboards/"]
)
def test_charts_are_drawn_with_their_table_behind_them(open_page: OpenPage, address: str) -> None:
    page = open_page(**DESKTOP)
    page.goto(address)
    charts = page.locator(".chart")
    assert charts.count() >= 1
    for chart in charts.all():
        chart.scroll_into_view_if_needed()
        expect(chart.locator(".drawing, .plot svg.main-svg").first).to_be_visible()
        chart.get_by_text("Table behind this chart").click()
        assert chart.locator("tbody tr").count() >= 1
