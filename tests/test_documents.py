"""Whatever document a text of the project names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("reviewapp", "taxonomy", "casestudies", "benchmarks", "fixtures", "docs", "templates")
# What the lab reads and writes elsewhere: beside a model, and of what it ran.
ELSEWHERE = {"model.yaml", "report.md", "noted.jsonl"}
# The change log names what was there once.
AT_THE_TOP = ("README.md", "Makefile", "pyproject.toml", "requirements.txt", "manage.py")
NAMED = re.compile(r"(?<![\w./:-])[\w./-]+\.(?:md|yaml|jsonl)\b")


def texts() -> Iterator[Path]:
    for room in ROOMS:
        for kind in ("py", "md", "yaml", "html"):
            yield from (ROOT / room).rglob(f"*.{kind}")
    yield from (ROOT / name for name in AT_THE_TOP)


def test_every_document_that_is_named_exists() -> None:
    documents = {*texts(), *(ROOT / "fixtures").iterdir(), ROOT / "CHANGELOG.md"}
    documents |= {*(ROOT / "tests").rglob("*.yaml")}
    missing = [
        f"{text.relative_to(ROOT)}: {name}"
        for text in texts()
        for name in NAMED.findall(text.read_text(encoding="utf-8"))
        if name not in ELSEWHERE
        and not any(path.as_posix().endswith(f"/{name.removeprefix('../')}") for path in documents)
    ]
    assert not missing
