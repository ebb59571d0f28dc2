"""What docs/deploy.md tells people to type, and where it sends them, exists."""

import re
import shlex
import subprocess

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

DEPLOY = (settings.BASE_DIR / "docs/deploy.md").read_text()
SETTINGS = (settings.BASE_DIR / "docs/settings.md").read_text()
PLACEHOLDERS = {"NAME", "FILE", "PASSWORD", "REPOSITORY", "PATH"}
CODE = "\n".join(re.findall(r"```.+?```|`[^`]+`", DEPLOY, re.DOTALL))
COMMANDS = sorted(set(re.findall(r"\bmanage(?:\.py)? ([a-z][^`\n#;]*)", CODE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    name, *arguments = shlex.split(command)
    app = get_commands()[name]
    parser = load_command_class(str(app), name).create_parser("manage.py", name)
    parser.parse_args(arguments)


def test_the_commands_are_found() -> None:
    assert {command.split()[0] for command in COMMANDS} == {
        *("accounts", "backup", "changepassword", "create_runner", "createsuperuser", "restore"),
        "worker",
    }


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"\bmake ([a-z-]+)", CODE))
    assert {"install", "run"} <= targets
    subprocess.run(["make", "-n", *targets], cwd=settings.BASE_DIR, check=True, capture_output=True)


def test_every_setting_has_its_row() -> None:
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", SETTINGS, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)([A-Z][A-Z_]{3,})(?=[`=/])", DEPLOY, re.MULTILINE))
    assert {"ALLOWED_HOSTS", "DATA_DIR", "LOG_REQUESTS"} <= named
    assert named - PLACEHOLDERS <= rows


@pytest.mark.parametrize("page", ["README.md", *settings.BASE_DIR.glob("docs/*.md")], ids=str)
def test_links_lead_to_headings_that_exist(page: str) -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", DEPLOY, re.MULTILINE)
    }
    text = (settings.BASE_DIR / page).read_text()
    assert set(re.findall(r"deploy\.md#([a-z0-9-]+)", text)) <= headings
