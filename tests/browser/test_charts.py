"""Charts in real Chromium: drawn by the server, interactive when asked, saved as pictures."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.conftest import OpenPage

STARTS = {"svg": b"<svg", "png": b"\x89PNG\r\n"}
WITH_CHARTS = [
    "/compare/?strategies=distillation,pruning,quantization",
    "/runs/1/",
    "/dashboards/",
]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}

# Texts that leave their chart, and pairs of texts of a drawing that overlap.
UNREADABLE = """() => [...document.querySelectorAll(".chart")].flatMap((chart) => {
  const around = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll(".drawing text")]
    .map((text) => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width);
  const outside = texts.filter(([, box]) => box.left < around.left || box.right > around.right);
  const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1
    || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
  const pairs = texts.flatMap(([text, a], i) => texts.slice(i + 1)
    .filter(([, b]) => !apart(a, b)).map(([other]) => `${text} / ${other}`));
  return [...outside.map(([text]) => text), ...pairs];
})"""


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("address", WITH_CHARTS)
def test_drawings_are_readable_without_javascript(
    open_page: OpenPage, address: str, viewport: dict[str, int]
) -> None:
    page = open_page(viewport=viewport, java_script_enabled=False)
    page.goto(address)
    charts = page.locator(".chart")
    assert charts.count() >= 1
    for chart in charts.all():
        expect(chart.locator(".drawing")).to_be_visible()
        expect(chart.get_by_role("button")).to_have_count(0)
    assert page.evaluate(UNREADABLE) == []


def test_a_mark_names_its_claim_and_leads_to_it(page: Page) -> None:
    page.goto("/compare/?strategies=distillation,pruning,quantization")
    page.locator(".drawing").get_by_role("link", name="29 x: oBERT (2022)").first.click()
    expect(page).to_have_url(re.compile(r"/claims/kurtic2022obert-\d+/$"))


def test_drawings_follow_the_theme(open_page: OpenPage) -> None:
    page = open_page(color_scheme="light")
    page.goto("/dashboards/")
    fill = "getComputedStyle(document.querySelector('.drawing .mark path, .drawing .bar')).fill"
    light = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(fill) != light


def test_plotly_is_loaded_only_when_asked_and_takes_the_place_of_the_drawing(page: Page) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "plotly" in request.url else None)
    page.goto("/dashboards/")
    page.wait_for_load_state("networkidle")
    assert asked == []
    chart = page.locator(".chart").first
    button = chart.get_by_role("button", name="Interactive")
    button.click()
    expect(chart.locator(".plot svg.main-svg").first).to_be_visible()
    expect(chart.locator(".drawing")).to_be_hidden()
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(chart.locator(".drawing")).to_be_visible()
    expect(chart.locator(".plot")).to_be_hidden()
    page.locator(".chart").nth(1).get_by_role("button", name="Interactive").click()
    expect(page.locator(".chart").nth(1).locator("svg.main-svg").first).to_be_visible()
    assert len(asked) == 1


def test_the_drawing_stays_when_plotly_cannot_be_loaded(browser: Browser, site: LiveServer) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.route("**/plotly.min*.js", lambda route: route.abort())
    page.goto("/dashboards/")
    chart = page.locator(".chart").first
    chart.get_by_role("button", name="Interactive").click()
    expect(chart.get_by_role("status")).to_have_text("This could not be loaded.")
    expect(chart.locator(".drawing")).to_be_visible()
    page.unroute_all()
    chart.get_by_role("button", name="Interactive").click()
    expect(chart.locator(".plot svg.main-svg").first).to_be_visible()
    expect(chart.get_by_role("status")).to_be_empty()
    context.close()


@pytest.mark.parametrize("kind", STARTS)
def test_a_chart_is_saved_as_a_picture_that_names_itself(
    page: Page, tmp_path: Path, kind: str
) -> None:
    page.goto("/dashboards/")
    chart = page.locator(".chart").first
    title = chart.locator("h3").inner_text()
    with page.expect_download() as saving:
        chart.get_by_role("button", name=f"Save as {kind.upper()}").click()
    path = tmp_path / "chart"
    saving.value.save_as(path)
    assert saving.value.suggested_filename.endswith(f".{kind}")
    assert path.read_bytes().startswith(STARTS[kind])
    expect(chart.locator(".drawing")).to_be_visible()
    if kind == "svg":
        drawn = path.read_text("utf-8")
        assert title in drawn
        assert "Peak Atlas, 127.0.0.1" in drawn
