"""The CSV file of the PRISMA2020 package and its app: `write` makes it, `read` checks it.

The layout is that of the package's own template, cell for cell; only `n` is ours. A file of
somebody else keeps the texts they changed (printed label, tooltip, link) from reading to writing.

Reasons for exclusion at the title and abstract stage stand in a row of their own, which is only
there when it is used: the package reads a single number as records_excluded, and does not look at
rows that it does not know.

A text that a spreadsheet would run as a formula (= + - @ first) gets an apostrophe, which `read`
takes off.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from reviewapp.corpus.prisma.flow import BY_KEY, Entry, Flow, Origin
from reviewapp.corpus.prisma.reading.cells import (
    CellReader,
    plain,
    with_formula,
    without_formula,
    written,
)
from reviewapp.corpus.prisma.reading.decoding import (
    SEPARATORS,
    DecodedFile,
    check_size,
    decode,
    lines,
)
from reviewapp.corpus.prisma.reading.remarks import PrismaCsvError, Remark, short

TEMPLATE = Path(__file__).parents[3] / "fixtures" / "prisma" / "PRISMA2020_template.csv"
COLUMNS = ["data", "node", "box", "description", "boxtext", "tooltips", "url", "n"]
MAX_ITEMS = 5_000  # each is a line of the diagram and of the page
_TEXTS = ("boxtext", "tooltips", "url")
_ADDED = {
    "data": "title_abstract_reasons",
    "node": "NA",
    "box": "box5",
    "description": "Reasons at the title and abstract stage (not a row of the PRISMA2020 package)",
    "boxtext": "Reasons for excluding records",
    "tooltips": "NA",
    "url": "NA",
    "n": "NA",
}


@dataclass(frozen=True)
class ParsedFlow:
    """A file's numbers, the texts in it that differ from the template, and what was assumed.

    `texts` maps a row's name (its key, or its box where it has none) to (boxtext, tooltips, url).
    """

    flow: Flow
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: tuple[Remark, ...] = field(default=(), compare=False)

    @property
    def labels(self) -> dict[str, str]:
        """The printed labels that the author changed, by the name of the row."""
        changed = {name: plain(texts[0]) for name, texts in self.texts.items()}
        return {
            name: label
            for name, label in changed.items()
            if label not in {"", "NA", _template()[name].texts[0]}
        }


def with_labels(
    texts: Mapping[str, tuple[str, ...]], labels: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The texts of a file with other printed labels, those of the template where one is empty."""
    changed = {}
    for name, row in _template().items():
        label, *others = texts.get(name, row.texts)
        label = labels.get(name, label) or row.texts[0]
        if (label, *others) != row.texts:
            changed[name] = (label, *others)
    return changed


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]
    beside: tuple[tuple[str, str], ...] = ()  # other columns and what they hold

    @property
    def name(self) -> str:
        key = self.cells["data"].strip()
        return self.cells["box"].strip() if key in {"", "NA"} else key

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(with_formula(self.cells[column]) for column in _TEXTS)


def write(flow: Flow, texts: Mapping[str, tuple[str, ...]] | None = None) -> bytes:
    """The file for a flow: UTF-8, CRLF, NA where a number is not reported.

    `texts` are those of a `ParsedFlow`. PrismaCsvError if `read` would refuse the file's size.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for name, row in _template().items():
        if name == _ADDED["data"] and name not in flow.entries and name not in (texts or {}):
            continue
        changed = (texts or {}).get(name, row.texts)
        cells = row.cells | dict(zip(_TEXTS, map(without_formula, changed), strict=True))
        if name in BY_KEY:
            cells["n"] = written(flow[name])
        writer.writerow(cells.values())
    data = out.getvalue().removesuffix("\r\n").encode()
    check_size(data)
    return data


def read(
    data: bytes | str, *, origin: Origin = "declared", note: str = "", encoding: str = ""
) -> ParsedFlow:
    """The numbers and changed texts of a file; `encoding` is one of decoding.ENCODINGS, or empty.

    Raises PrismaCsvError as `parse` does, and for a file that is too large or no text.
    """
    return parse(decode(data, COLUMNS, encoding), origin=origin, note=note)


def parse(file: DecodedFile, *, origin: Origin = "declared", note: str = "") -> ParsedFlow:
    """The numbers and changed texts of a file; every number gets the given origin and note.

    A key that is missing, empty, NA or left as in the template is not reported. PrismaCsvError
    lists all problems with their lines: a number that is not whole, an unknown or repeated key,
    wrong columns; or says that more than MAX_ITEMS sources and reasons are listed.
    """
    rows, remarks, problems = _rows(file)
    notices = [*file.notices, *remarks]
    entries: dict[str, Entry] = {}
    texts: dict[str, tuple[str, ...]] = {}
    seen: dict[str, int] = {}
    for row in rows:
        try:
            _check_place(row, seen)
            _check_beside(row)
            if row.name in BY_KEY:
                reader = CellReader(european=file.separator == ";")
                listed = BY_KEY[row.name].listed
                entries[row.name] = reader.entry(row.cells["n"], origin, note, listed=listed)
                notices += [Remark(notice, row.line, row.name) for notice in reader.notices]
        except ValueError as error:
            problems.append(Remark(f"{error}{_hint(row)}", row.line, row.name))
            continue
        notices += [
            Remark(f"“{short(value)}” in {column} is not read", row.line, row.name)
            for column, value in row.beside
        ]
        if row.texts != _template()[row.name].texts:
            texts[row.name] = row.texts
    if problems:
        raise PrismaCsvError(*sorted(problems, key=lambda problem: problem.line or 0))
    check_items(entries.values())
    known = {key: entry for key, entry in entries.items() if entry.origin != "not reported"}
    return ParsedFlow(Flow(known), texts, tuple(notices))


@cache
def _template() -> dict[str, _Row]:
    """The rows of the template by name, and that of the reasons at the first stage."""
    rows, _, _ = _rows(decode(TEMPLATE.read_bytes(), COLUMNS))
    named = {row.name: row for row in rows}
    at = list(named).index("records_excluded") + 1
    added = {_ADDED["data"]: _Row(0, _ADDED)}
    return dict([*list(named.items())[:at], *added.items(), *list(named.items())[at:]])


def check_items(entries: Iterable[Entry]) -> None:
    """PrismaCsvError for more than MAX_ITEMS sources and reasons."""
    count = sum(len(entry.items) for entry in entries)
    if count > MAX_ITEMS:
        raise PrismaCsvError(
            Remark(f"it lists {count:,} sources and reasons, more than {MAX_ITEMS:,}")
        )


def _rows(file: DecodedFile) -> tuple[list[_Row], list[Remark], list[Remark]]:
    """The rows below the header, what is said of its columns, and what is wrong with a row."""
    records = _records(file)
    _, titles = next(records, (1, []))
    header = [title.strip().casefold() for title in titles]
    # R and pandas number the rows, in a column without a name.
    numbered = 1 if header[:2] == ["", "data"] else 0
    header = header[numbered:]
    _check_header(header, file.header)
    other = [title for title in header if title and title not in COLUMNS]
    notices = [
        Remark(f"the column “{short(title)}” is none of the template's", file.header)
        for title in other
    ]
    rows, problems = [], []
    for line, cells in records:
        try:
            if any(cell.strip() for cell in cells) or not cells:
                rows.append(_row(line, cells[numbered:], header, file.separator))
        except ValueError as error:
            problems.append(Remark(str(error), line))
    return rows, notices, problems


def _row(line: int, cells: list[str], header: list[str], separator: str) -> _Row:
    """The cells by their columns; empty cells at the end may be missing or too many."""
    if not cells:
        raise ValueError("quotes do not match")
    needed = max(map(header.index, COLUMNS)) + 1
    if len(cells) < needed or any(cell.strip() for cell in cells[len(header) :]):
        sign = SEPARATORS[separator]
        raise ValueError(
            f"{len(cells)} cells instead of {len(header)}; a cell with {sign} in it needs quotes"
        )
    named = {title: cells[header.index(title)] for title in COLUMNS}
    beside = tuple(
        (f"column {place + 1}", cell.strip())
        for place, (title, cell) in enumerate(zip(header, cells, strict=False))
        if not title and cell.strip()
    )
    return _Row(line, named, beside)


def _records(file: DecodedFile) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line it begins on.

    Nothing can be read behind quotes that do not match: the last record is then empty.
    """
    reader = csv.reader(lines(file.text)[file.header - 1 :], delimiter=file.separator, strict=True)
    line = file.header
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + file.header
    except csv.Error:
        yield line, []


def _check_header(header: list[str], line: int) -> None:
    """The package finds the first and the third column by place, the others by name."""
    missing = [title for title in COLUMNS if title not in header]
    if len(missing) == len(COLUMNS):
        found = short(", ".join(header)) or "nothing"
        raise PrismaCsvError(
            Remark(f"the columns should be {', '.join(COLUMNS)}, not {found}", line)
        )
    wrong = [f"the column “{title}” is missing" for title in missing]
    wrong += [
        f"the column “{title}” is there twice" for title in COLUMNS if header.count(title) > 1
    ]
    wrong += [
        f"column {place + 1} should be “{title}”, not “{short(header[place])}”"
        for place, title in ((0, "data"), (2, "box"))
        if title in header and header[place] != title
    ]
    if wrong:
        raise PrismaCsvError(*(Remark(text, line) for text in wrong))


def _check_place(row: _Row, seen: dict[str, int]) -> None:
    expected = _template().get(row.name)
    if expected is None:
        raise ValueError("unknown key")
    if row.name in seen:
        raise ValueError(f"repeats line {seen[row.name]}")
    seen[row.name] = row.line
    box = row.cells["box"].strip()
    if box != expected.cells["box"]:
        raise ValueError(f"box “{short(box)}” should be “{expected.cells['box']}”")


def _hint(row: _Row) -> str:
    if row.name == "records_excluded" and re.search("[;,:]", row.cells["n"]):
        return f". Reasons at this stage stand in a row of their own, {_ADDED['data']} in box5"
    return ""


def _check_beside(row: _Row) -> None:
    """Without quotes, 1,234 fills two cells, and so does the first item of a list."""
    n = row.cells["n"].strip()
    for column, value in row.beside:
        thousands = n.isdecimal() and len(n) <= 3 and value.isdecimal() and len(value) == 3
        rest = row.name in BY_KEY and BY_KEY[row.name].listed and n and not n[-1].isdecimal()
        if thousands or (rest and value[0].isdecimal()):
            raise ValueError(
                f"“{short(n)}” goes on as “{short(value)}” in {column}: put quotes around"
                f" “{short(n)}, {short(value)}”, or empty {column}"
            )
