"""Every page in real Chromium: accessible, no wider than any screen, and asking nobody outside."""

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

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
    "/taxonomy/?pivot=class&select=strategy:pruning",
    "/taxonomy/model-cascade/",
    "/publications/",
    "/publications/?q=sparse&class=inference&from=2022",
    "/publications/?objective=memory&phase=inference&device_memory=24",
    "/publications/?q=nothingmatchesthis",
    "/search/?q=quantizaton",
    "/search/?q=nothingmatchesthis",
    "/search/?q=speedup&group=claims",
    "/publications/frantar2023sparsegpt/",
    "/claims/frantar2023qmoe-0/",
    "/claims/nobody2020-0/",
    "/compare/",
    "/compare/?classes=inference,serving,training",
    "/compare/?publications=frantar2022gptq,frantar2023sparsegpt",
    "/replication/",
    "/frameworks/",
    "/frameworks/?q=nothingmatchesthis",
    "/prisma/",
    "/prisma/?variant=updated-v2",
    "/prisma/edit/?database_results=983&records_screened=990&totals=on",
    "/case-studies/sparsegpt/",
    "/case-studies/pipeline-parallel/",
    "/equations/",
    "/runs/1/",
    "/sweeps/",
    "/contributions/",
    "/dashboards/",
    "/dashboards/?study=all",
    "/sign-in/",
    "/nope/",
    "/publications/?strategy=nope",
]
NOT_THERE = {"/claims/nobody2020-0/", "/nope/"}
EVERY_LOOK = [(1440, "light"), (768, "light"), (390, "dark")]
# The scheme changes nothing but contrast, which takes most of the time and hardly depends on the
# width: it is looked at in these two.
TWO_LOOKS = [EVERY_LOOK[0], EVERY_LOOK[-1]]
BUT_CONTRAST = {**DEFAULT_OPTIONS, "rules": {"color-contrast": {"enabled": False}}}
DESKTOP = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}

# What makes the page wider than the screen: as it came, or once one of its parts is opened.
TOO_WIDE = """() => {
  const tooWide = () => document.documentElement.scrollWidth > innerWidth;
  const opened = [...document.querySelectorAll("details:not([open])")].filter((details) => {
    details.open = true;
    const wide = tooWide();
    details.open = false;
    return wide;
  });
  return [...(tooWide() ? ["the page"] : []),
    ...opened.map((details) => details.querySelector("summary").textContent.trim())];
}"""


@pytest.mark.parametrize(
    ("address", "looks"),
    [
        *((address, EVERY_LOOK) for address in OF_CLAIMS),
        *((address, TWO_LOOKS) for address in OTHERS),
    ],
    ids=[*OF_CLAIMS, *OTHERS],
)
def test_the_page_is_accessible_and_fits(
    open_page: OpenPage, address: str, looks: list[tuple[int, Literal["light", "dark"]]]
) -> None:
    page = open_page()
    answer = page.goto(address)
    assert answer
    assert (answer.status == 404) == (address in NOT_THERE)
    page.wait_for_load_state("load")
    problems = []
    for look in looks:
        width, scheme = look
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=DEFAULT_OPTIONS if look in TWO_LOOKS else BUT_CONTRAST)
        for violation in found.response["violations"]:
            where = violation["nodes"][0]["html"][:200]
            problems.append(f"{width} px, {scheme}: {violation['id']}: {where}")
        problems += [f"{width} px: too wide: {what}" for what in page.evaluate(TOO_WIDE)]
    assert problems == []
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
