"""What is wrong with a page on screens: barriers that axe finds, and what does not fit."""

from collections.abc import Mapping
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import Page

Screen = tuple[int, Literal["light", "dark"]]
DESKTOP: Screen = (1440, "light")
TABLET: Screen = (768, "light")
PHONE: Screen = (390, "dark")
WHOLE = DEFAULT_OPTIONS
BUT_CONTRAST = {**DEFAULT_OPTIONS, "rules": {"color-contrast": {"enabled": False}}}
THERE = Axe("")  # adds nothing to the page, where its script is by then

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


def problems(page: Page, screens: Mapping[Screen, dict[str, Any] | None]) -> list[str]:
    """Return what is wrong on the screens; the last remains.

    Each has what axe is to look for there: None that nothing but the width counts.
    """
    found = []
    page.evaluate(AXE_SCRIPT)
    for (width, scheme), looked_for in screens.items():
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found += [f"{width} px: too wide: {what}" for what in page.evaluate(TOO_WIDE)]
        if looked_for:
            found += [
                f"{width} px, {scheme}: {rule['id']}: {rule['nodes'][0]['html'][:200]}"
                for rule in THERE.run(page, options=looked_for).response["violations"]
            ]
    return found
