"""What the environment can set is documented, and nothing else is."""

import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

CODE = (
    "manage.py",
    "reviewapp/**/*.py",
    "taxonomy/**/*.py",
    "casestudies/*.py",
    "casestudies/lab/models/*.py",
)
DOCUMENTED_FOR_TESTS = {"CHROMIUM"}


def test_every_setting_has_its_row_in_the_documentation() -> None:
    documentation = (settings.BASE_DIR / "docs/settings.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", documentation, re.MULTILINE))
    read = re.compile(r"""environ(?:\.get\(|\[)"([A-Z_]+)"[\])]?""")
    files: list[Path] = [path for pattern in CODE for path in settings.BASE_DIR.glob(pattern)]
    used = {name for path in files for name in read.findall(path.read_text())}
    assert documented == used | DOCUMENTED_FOR_TESTS


def settings_where(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """Return what the settings are for a process that starts in this environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return run_path(str(settings.BASE_DIR / "reviewapp" / "settings.py"))


def test_blanks_around_a_comma_are_no_part_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_where(
        monkeypatch,
        ALLOWED_HOSTS="one.example, two.example",
        CSRF_TRUSTED_ORIGINS="https://one.example , http://*.two.example:84,http://[::1]:84,",
    )
    assert found["ALLOWED_HOSTS"][-2:] == ["one.example", "two.example"]
    origins = ["https://one.example", "http://*.two.example:84", "http://[::1]:84"]
    assert found["CSRF_TRUSTED_ORIGINS"] == origins


@pytest.mark.parametrize(
    "origin", ["atlas.example.org", "ftp://a.example", "https://", "https://a.example/", "http://["]
)
def test_an_origin_that_no_browser_names_keeps_every_process_from_starting(
    monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    """Without a scheme the worker alone would stop, again and again, after the site was ready."""
    said = f"CSRF_TRUSTED_ORIGINS: '{origin}' is no origin such as https://atlas.example.org"
    with pytest.raises(ImproperlyConfigured, match=f"^{re.escape(said)}$"):
        settings_where(monkeypatch, CSRF_TRUSTED_ORIGINS=f"https://b.example,{origin}")


@pytest.mark.django_db
def test_no_change_of_a_model_lacks_its_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=3)
