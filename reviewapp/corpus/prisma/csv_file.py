"""The CSV file of the PRISMA2020 package and its app: `write` makes it, `read` checks it.

The layout is that of the package's own template, cell for cell; only `n` is ours. A file of
somebody else keeps the texts they changed (printed label, tooltip, link) from reading to writing.

In a list ("Scopus, 120; IEEE Xplore, 85") commas and semicolons separate, so `write` turns those
inside a label into " / ", and runs of blanks and control characters into one blank. A text that a
spreadsheet would run as a formula (= + - @ first) gets an apostrophe, which `read` takes off.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from reviewapp.corpus.prisma.flow import BY_KEY, MAX_N, Entry, Flow, Origin

TEMPLATE = Path(__file__).parents[3] / "fixtures" / "prisma" / "PRISMA2020_template.csv"
COLUMNS = ["data", "node", "box", "description", "boxtext", "tooltips", "url", "n"]
MAX_BYTES = 64 * 1024
MAX_ITEMS = 5_000  # each is a line of the diagram and of the page
_TEXTS = ("boxtext", "tooltips", "url")
_UNKNOWN = {"", "NA", "xxx"}
# Groups of three behind one kind of sign: a comma, or a plain, no-break, narrow or thin space.
_NUMBER = re.compile(
    r"[0-9]+|[0-9]{1,3}(?P<sign>[, \u00a0\u202f\u2009])[0-9]{3}(?:(?P=sign)[0-9]{3})*"
)
_FORMULA = re.compile(r"(?='*[=+\-@\t\r])")
_NEUTRALISED = re.compile(r"\A'(?='*[=+\-@\t\r])")


class PrismaCsvError(ValueError):
    """The file cannot be used as it is; `problems` has one line for each cause."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ParsedFlow:
    """A file's numbers, and the texts in it that differ from the template.

    `texts` maps a row's name (its key, or its box where it has none) to (boxtext, tooltips, url).
    """

    flow: Flow
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]

    @property
    def name(self) -> str:
        key = self.cells["data"].strip()
        return self.cells["box"].strip() if key in {"", "NA"} else key

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(_NEUTRALISED.sub("", self.cells[column]) for column in _TEXTS)


def write(flow: Flow, texts: Mapping[str, tuple[str, ...]] | None = None) -> bytes:
    """The file for a flow: UTF-8, CRLF, NA where a number is not reported.

    `texts` are those of a `ParsedFlow`. PrismaCsvError if `read` would refuse the file's size.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for name, row in _template().items():
        changed = (texts or {}).get(name, row.texts)
        cells = row.cells | dict(zip(_TEXTS, map(_without_formula, changed), strict=True))
        if name in BY_KEY:
            cells["n"] = _cell(flow[name])
        writer.writerow(cells.values())
    data = out.getvalue().removesuffix("\r\n").encode()
    _check_size(data)
    return data


def read(data: bytes | str, *, origin: Origin = "declared", note: str = "") -> ParsedFlow:
    """The numbers and changed texts of a file; every number gets the given origin and note.

    A key that is missing, empty or NA is not reported. PrismaCsvError lists all problems with
    their lines: a number that is not whole, an unknown or repeated key, wrong columns, encoding;
    or says that more than MAX_ITEMS sources and reasons are listed.
    """
    rows, problems = _rows(_decoded(data))
    entries: dict[str, Entry] = {}
    texts: dict[str, tuple[str, ...]] = {}
    seen: dict[str, int] = {}
    for row in rows:
        try:
            _check_place(row, seen)
            if row.name in BY_KEY:
                entries[row.name] = _entry(row, origin, note)
        except ValueError as error:
            problems.append((row.line, f"line {row.line} ({_short(row.name)}): {error}"))
            continue
        if row.texts != _template()[row.name].texts:
            texts[row.name] = row.texts
    if problems:
        raise PrismaCsvError([problem for _, problem in sorted(problems)])
    _check_items(sum(len(entry.items) for entry in entries.values()))
    known = {key: entry for key, entry in entries.items() if entry.origin != "not reported"}
    return ParsedFlow(Flow(known), texts)


@cache
def _template() -> dict[str, _Row]:
    rows, _ = _rows(_decoded(TEMPLATE.read_bytes()))
    return {row.name: row for row in rows}


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise PrismaCsvError([f"the file has {len(data):,} bytes, more than {MAX_BYTES:,}"])


def _check_items(count: int) -> None:
    if count > MAX_ITEMS:
        raise PrismaCsvError([f"it lists {count:,} sources and reasons, more than {MAX_ITEMS:,}"])


def _decoded(data: bytes | str) -> str:
    try:
        raw = data.encode() if isinstance(data, str) else data
        _check_size(raw)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise PrismaCsvError([f"line {line}: byte 0x{byte:02x} is not UTF-8 text"]) from error
    except UnicodeEncodeError as error:
        line = error.object[: error.start].count("\n") + 1
        raise PrismaCsvError([f"line {line}: half of a character (surrogate)"]) from error


def _rows(text: str) -> tuple[list[_Row], list[tuple[int, str]]]:
    """The rows below the header, and the lines that are not rows with what is wrong."""
    records = _records(text)
    _, header = next(records, (1, []))
    _check_header(header)
    rows, problems = [], []
    for line, cells in records:
        if len(cells) == len(header):
            rows.append(_Row(line, dict(zip(header, cells, strict=True))))
        else:
            text = (
                f"{len(cells)} cells instead of {len(header)}" if cells else "quotes do not match"
            )
            problems.append((line, f"line {line}: {text}"))
    return rows, problems


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line it begins on.

    Nothing can be read behind quotes that do not match: the last record is then empty.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        yield line, []


def _check_header(header: list[str]) -> None:
    """The package finds the first and the third column by place, the others by name."""
    right = sorted(header) == sorted(COLUMNS) and header[0] == "data" and header[2] == "box"
    if not right:
        found = _short(", ".join(header)) or "nothing"
        raise PrismaCsvError([f"line 1: the columns should be {', '.join(COLUMNS)}, not {found}"])


def _check_place(row: _Row, seen: dict[str, int]) -> None:
    expected = _template().get(row.name)
    if expected is None:
        raise ValueError("unknown key")
    if row.name in seen:
        raise ValueError(f"repeats line {seen[row.name]}")
    seen[row.name] = row.line
    box = row.cells["box"].strip()
    if box != expected.cells["box"]:
        raise ValueError(f'box "{_short(box)}" should be "{expected.cells["box"]}"')


def _entry(row: _Row, origin: Origin, note: str) -> Entry:
    text = row.cells["n"].strip()
    if text in {"", "NA"}:
        return Entry()
    if BY_KEY[row.name].listed and not _NUMBER.fullmatch(text):
        items = tuple(_item(part) for part in text.split(";") if part.strip())
        if not items:
            raise ValueError(f'"{_short(text)}" has no items')
        return Entry(items=items, origin=origin, note=note)
    return Entry(_count(text), origin=origin, note=note)


def _item(part: str) -> tuple[str, int | None]:
    label, _, number = (side.strip() for side in part.partition(","))
    if not label:
        raise ValueError(f'"{_short(part.strip())}" has no label')
    return _NEUTRALISED.sub("", label), None if number in _UNKNOWN else _count(number)


def _count(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f'"{_short(text)}" is not a whole number of 0 or more')
    digits = re.sub("[^0-9]", "", text).lstrip("0")
    if len(digits) > len(str(MAX_N)):
        raise ValueError(f'"{_short(text)}" is more than {MAX_N:,}')
    return int(digits or "0")


def _cell(entry: Entry) -> str:
    if entry.items:
        return "; ".join(
            f"{_written_label(label)}, {'xxx' if n is None else n}" for label, n in entry.items
        )
    return "NA" if entry.n is None else str(entry.n)


def _written_label(label: str) -> str:
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} else c for c in label)
    one_line = " ".join(re.sub("[,;]", " / ", plain).split())
    return _without_formula(one_line)


def _without_formula(text: str) -> str:
    return "'" + text if _FORMULA.match(text) else text


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
