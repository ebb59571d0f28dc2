"""`python -m tests.browser.chromium`: print the path of a Chromium, installed first if need be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
MISSING = (
    "The browser tests need Chromium: install it (apt-get install chromium),"
    " or set CHROMIUM to the path of Chromium or Chrome"
)


def find() -> str | None:
    """Return the path of a Chromium that starts: CHROMIUM when set, an installed one, or none."""
    named = os.environ.get("CHROMIUM")
    candidates = [named] if named else [shutil.which(name) for name in NAMES]
    return next((path for path in candidates if path and _starts(path)), None)


def _starts(path: str) -> bool:
    # Some systems have a command of that name which only says how to install the real one.
    try:
        return subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _download() -> str | None:
    """Return the path of the Chromium that Playwright downloads, if it can and that one starts."""
    if not _succeeds(sys.executable, "-m", "playwright", "install", "chromium"):
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if _starts(path) else None


def _install_package() -> str | None:
    """Return the path of Debian's Chromium, if this is root on a Debian that can install it."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    packages = ["--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
    installed = _succeeds("apt-get", "update") and _succeeds("apt-get", "install", *packages)
    return find() if installed else None


def _succeeds(*command: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, env=environment)
    return done.returncode == 0


def main() -> None:
    """Print the first Chromium that starts; exit 1 with one line when none can be had."""
    ways: list[Callable[[], str | None]] = [find]
    if not os.environ.get("CHROMIUM"):
        ways += [_download, _install_package]
    path = next((path for way in ways if (path := way())), None)
    if path is None:
        sys.exit(MISSING)
    sys.stdout.write(path)


if __name__ == "__main__":
    main()
