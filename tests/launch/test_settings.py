"""What the environment can set is documented, and nothing else is."""

import re
from pathlib import Path

import pytest
from django.conf import settings
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


@pytest.mark.django_db
def test_no_change_of_a_model_lacks_its_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=3)
