"""The chart of a strategy's claims: each value beside its mark, on any screen, by itself too."""

import pytest

from tests.browser.conftest import OpenPage

# Values that are not seen exactly once, leave the chart, or lie on their own mark.
MISPLACED = """() => [...document.querySelectorAll(".dot-row")].flatMap((row) => {
  const chart = row.closest(".evidence-chart").getBoundingClientRect();
  const values = [...row.querySelectorAll(".val")].filter((v) => v.getClientRects().length);
  const marks = [...row.querySelectorAll(".plot use")].map((m) => m.getBoundingClientRect());
  const odd = values.filter((value) => {
    const box = value.getBoundingClientRect();
    return box.left < chart.left || box.right > chart.right ||
      marks.some((mark) => mark.right > box.left + 1 && mark.left < box.right - 1);
  });
  return values.length === 1 && !odd.length ? [] : [row.textContent.trim()];
})"""


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize(
    "address", ["quantization/", "fine-tuning/", "offloading/", "pruning/chart/"]
)
def test_each_value_is_read_once_and_stands_clear_of_its_mark(
    open_page: OpenPage, address: str, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 900}, java_script_enabled=False)
    page.goto(f"/taxonomy/{address}")
    assert page.locator(".dot-row").count() > 1
    assert page.evaluate(MISPLACED) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
