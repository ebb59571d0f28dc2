"""Charts saved as pictures, under the site's own Content-Security-Policy."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

STARTS = {"svg": b"<svg", "png": b"\x89PNG\r\n"}


@pytest.mark.parametrize("kind", STARTS)
def test_a_chart_is_saved_as_a_picture_that_names_itself(
    page: Page, tmp_path: Path, kind: str
) -> None:
    page.goto("/taxonomy/pruning/")
    chart = page.locator(".chart").first
    chart.locator(".plot svg.main-svg").first.wait_for()
    title = chart.locator("h3").inner_text()
    with page.expect_download() as saving:
        chart.get_by_role("button", name=f"Save as {kind.upper()}").click()
    path = tmp_path / "chart"
    saving.value.save_as(path)
    assert saving.value.suggested_filename.endswith(f".{kind}")
    assert path.read_bytes().startswith(STARTS[kind])
    if kind == "svg":
        drawn = path.read_text("utf-8")
        assert title in drawn
        assert "Peak Atlas, 127.0.0.1" in drawn
