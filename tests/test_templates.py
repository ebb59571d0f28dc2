"""Templates point one way, as imports do, which import-linter cannot see."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ["ui", "corpus", "taxonomy", "casestudies"]  # each may use those before it
TAGS = {
    path.stem: path.parts[-3]
    for package in ("reviewapp", "taxonomy", "casestudies")
    for path in (ROOT / package).rglob("templatetags/[!_]*.py")
}
USED = re.compile(r"""{%\s*(?:include|extends)\s+["'](\w+)/""")
LOADED = re.compile(r"{%\s*load\s+(.*?)\s*%}")


@pytest.mark.parametrize("room", ROOMS)
def test_no_template_uses_those_or_the_tags_of_a_room_above(room: str) -> None:
    assert set(TAGS.values()) == set(ROOMS), "every room with tags is known"
    above = ROOMS[ROOMS.index(room) + 1 :]
    for path in (ROOT / "templates" / room).glob("*.html"):
        text = path.read_text()
        loaded = [name for names in LOADED.findall(text) for name in names.split()]
        used = {*USED.findall(text), *(TAGS.get(name, "") for name in loaded)}
        assert not used & {*above}, path.name
