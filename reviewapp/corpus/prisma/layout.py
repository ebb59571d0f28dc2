"""Where everything stands in a PRISMA 2020 flow diagram: text broken into lines, boxes, bars.

Lengths are CSS pixels. Boxes grow with their text, and what stands below them moves down.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, get_args

from reviewapp.corpus.prisma.flow import (
    BOXES,
    NOT_REPORTED,
    Arm,
    DiagramNumber,
    Entry,
    Flow,
    FlowTemplate,
    Stage,
)
from reviewapp.corpus.prisma.presentation import Presentation

SIZE, LINE = 12.0, 15.0
NOTE_SIZE, NOTE_LINE = 9.5, 12.0
MARGIN, PAD, GAP = 8.0, 9.0, 26.0
_INDENT, _HANG, _BAND = 12.0, 8.0, 26.0
# Left free on each line for readers whose browser has only a wider font.
_USABLE = 0.9
# Columns: previous studies, databases, their side boxes, other methods, their side boxes.
_WIDTHS = (156.0, 214.0, 230.0, 204.0, 184.0)
_BARS: dict[Arm, tuple[int, int]] = {"previous": (0, 0), "databases": (1, 2), "other": (3, 4)}
_BOLDER = 1.1  # bold text is up to a tenth wider
# Stages that can be a single row high, by that row.
_ONE_ROW: dict[int, Stage] = {0: "Identification", 4: "Included"}
# Row and column of each box.
_PLACES = {
    "box1": (0, 0),
    "box2": (0, 1),
    "box3": (0, 2),
    "box11": (0, 3),
    "box4": (1, 1),
    "box5": (1, 2),
    "box6": (2, 1),
    "box7": (2, 2),
    "box12": (2, 3),
    "box13": (2, 4),
    "box8": (3, 1),
    "box9": (3, 2),
    "box14": (3, 3),
    "box15": (3, 4),
    "box10": (4, 1),
    "box16": (5, 1),
    "box17": (6, 1),
}
# Characters by their width in thousandths of the font size, as in Helvetica's own metrics.
_METRICS = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jckssvxyz",
    556: "#$?L_0123456789abdeghnopqu",
    584: "+<=>~",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    1015: "@",
}
_CHARACTER_WIDTHS = {c: width for width, characters in _METRICS.items() for c in characters}


_SOURCE = "After the PRISMA 2020 flow diagram: Page MJ, et al. BMJ 2021;372:n71."
AS_IT_IS = Presentation()

_Phrase = tuple[list[str], int]  # words, and how many levels they are indented


class Line(NamedTuple):
    """One line of text; a note is small and tells the origin of the number above it."""

    text: str
    indent: float = 0
    note: bool = False

    @property
    def height(self) -> float:
        """Distance to the next line."""
        return NOTE_LINE if self.note else LINE


@dataclass(frozen=True)
class Shape:
    """A rectangle with lines of text in it."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[Line, ...]

    @property
    def right(self) -> float:
        """The x of its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.y + self.height

    @property
    def text(self) -> str:
        """All its lines as one."""
        return " ".join(line.text for line in self.lines)


@dataclass(frozen=True)
class Layout:
    """A whole diagram: its size, and what is drawn in it."""

    width: float
    height: float
    bands: Mapping[Stage, Shape]
    bars: Mapping[Arm, Shape]
    boxes: Mapping[str, Shape]
    footer: Shape


def layout(flow: Flow, variant: FlowTemplate, drawn_as: Presentation = AS_IT_IS) -> Layout:
    """The diagram of a flow in one of the four templates, its boxes in template order."""
    plan = _layout(flow, variant, drawn_as, _BAND)
    lines = max(len(band.lines) for band in plan.bands.values())
    # How long a band is, and so how its title breaks, is known only when the boxes are.
    return plan if lines == 1 else _layout(flow, variant, drawn_as, _BAND + (lines - 1) * LINE)


def _layout(flow: Flow, variant: FlowTemplate, drawn_as: Presentation, band: float) -> Layout:
    values = drawn_as.boxes(flow, variant)
    arms = {BOXES[name].arm for name in values}
    lefts = _lefts(arms, band)
    bars = _bars(variant, lefts, drawn_as)
    top = max(bar.bottom for bar in bars.values()) + GAP / 2
    boxes = {name: _box(name, inside, flow, variant, drawn_as) for name, inside in values.items()}
    boxes = _in_rows(
        {n: replace(box, x=lefts[_PLACES[n][1]], y=top) for n, box in boxes.items()},
        {row: _least_height(drawn_as.band(stage)) for row, stage in _ONE_ROW.items()},
    )
    width = max(bar.right for bar in bars.values()) - MARGIN
    lines = _wrapped(_SOURCE.split(), width, note=True)
    below = max(box.bottom for box in boxes.values()) + MARGIN
    footer = Shape(MARGIN, below, width, _height(lines), tuple(lines))
    bands = _bands(boxes, band, drawn_as)
    return Layout(width + 2 * MARGIN, footer.bottom + MARGIN, bands, bars, boxes, footer)


def clean(text: str) -> str:
    """The text without the characters that XML cannot hold, its blanks as single spaces."""
    legal = re.sub("[^\t\n\r -~\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", text)
    return " ".join(legal.split())


def _lefts(arms: Collection[Arm], band: float) -> dict[int, float]:
    """Where each column begins."""
    lefts: dict[int, float] = {}
    x = MARGIN + band + GAP / 2
    for arm, columns in _BARS.items():
        for column in range(columns[0], columns[1] + 1):
            if arm in arms:
                lefts[column] = x
                x += _WIDTHS[column] + GAP
    return lefts


def _bars(
    variant: FlowTemplate, lefts: Mapping[int, float], drawn_as: Presentation
) -> dict[Arm, Shape]:
    bars: dict[Arm, Shape] = {}
    for arm, (first, last) in _BARS.items():
        if first in lefts:
            width = lefts[last] + _WIDTHS[last] - lefts[first]
            words = clean(drawn_as.bar(arm, variant)).split()
            lines = _wrapped(words, (width - 2 * PAD) / _BOLDER)
            bars[arm] = Shape(lefts[first], MARGIN, width, _height(lines) + PAD, tuple(lines))
    height = max(bar.height for bar in bars.values())
    return {arm: replace(bar, height=height) for arm, bar in bars.items()}


def _box(
    name: str,
    inside: list[DiagramNumber],
    flow: Flow,
    variant: FlowTemplate,
    drawn_as: Presentation,
) -> Shape:
    """A box as wide as its column and as high as its text, not yet in its place."""
    lines = tuple(_box_lines(name, inside, flow, variant, drawn_as))
    return Shape(0, 0, _WIDTHS[_PLACES[name][1]], _height(lines) + 2 * PAD, lines)


def _least_height(title: str) -> float:
    """How high a band must be so that no usual word of its title is broken."""
    longest = max((_measure(word, SIZE) for word in clean(title).split()), default=0)
    return min(longest * _BOLDER / _USABLE + 2 * PAD, 8 * LINE)


def _in_rows(boxes: Mapping[str, Shape], least: Mapping[int, float]) -> dict[str, Shape]:
    """The boxes moved down to their rows, each row as high as its highest box, and as `least`."""
    rows = dict(least)
    for name, box in boxes.items():
        rows[_PLACES[name][0]] = max(rows.get(_PLACES[name][0], 0), box.height)
    placed = {}
    for name, box in boxes.items():
        row = _PLACES[name][0]
        above = sum(rows[earlier] + GAP for earlier in rows if earlier < row)
        # As in the templates, neighbours are equally high, but not a short box by a long list.
        nearly = rows[row] - box.height <= (6 if row == 0 else 2) * LINE
        height = rows[row] if nearly else box.height
        placed[name] = replace(box, y=box.y + above, height=height)
    return placed


def _bands(boxes: Mapping[str, Shape], width: float, drawn_as: Presentation) -> dict[Stage, Shape]:
    bands: dict[Stage, Shape] = {}
    for stage in get_args(Stage):
        inside = [box for name, box in boxes.items() if BOXES[name].stage == stage]
        top, bottom = min(box.y for box in inside), max(box.bottom for box in inside)
        lines = _wrapped(clean(drawn_as.band(stage)).split(), (bottom - top) / _BOLDER)
        bands[stage] = Shape(MARGIN, top, width, bottom - top, tuple(lines))
    return bands


def _box_lines(
    name: str,
    values: list[DiagramNumber],
    flow: Flow,
    variant: FlowTemplate,
    drawn_as: Presentation,
) -> list[Line]:
    width = _WIDTHS[_PLACES[name][1]] - 2 * PAD
    lines: list[Line] = []
    for words, level in _heading(name, values, flow, drawn_as):
        lines += _wrapped(words, width, indent=level * _INDENT)
    for value in values:
        entry = flow[value.key]
        phrases = _phrases(value, entry, clean(drawn_as.label(value, variant)), drawn_as.totals)
        for words, level in phrases:
            lines += _wrapped(words, width, indent=level * _INDENT)
        if entry.origin == "reported":
            indent = phrases[-1][1] * _INDENT if phrases else 0
            lines += _wrapped(_origin(entry).split(), width, indent=indent, note=True)
    return lines


def _heading(
    name: str, values: list[DiagramNumber], flow: Flow, drawn_as: Presentation
) -> list[_Phrase]:
    """The words above the values of a box, with the sum of its list if that is asked for."""
    heading = clean(drawn_as.heading(name))
    if not values:
        return [(heading.split(), 0), ([_count(None, NOT_REPORTED)], 1)]
    entry = flow[values[0].key]
    if drawn_as.totals and _is_named_by_heading(values[0]) and entry.total is not None:
        words = heading.removesuffix(":").split()
        return [([*words, _count(entry.total, entry) + (":" if entry.items else "")], 0)]
    return [(heading.split(), 0)]


def _is_named_by_heading(value: DiagramNumber) -> bool:
    return value.label in BOXES[value.box].heading


def _phrases(value: DiagramNumber, entry: Entry, label: str, totals: bool) -> list[_Phrase]:
    """The words of one value, line by line, each line with its level of indentation.

    A count is one word, so that no line ends inside it.
    """
    headed = bool(BOXES[value.box].heading)
    count = _count(entry.n, entry)
    if value.listed and entry.items:
        level = 2 if headed and not _is_named_by_heading(value) else 1
        return [([*clean(text).split(), _count(n, entry)], level) for text, n in entry.items]
    if _is_named_by_heading(value):
        return [] if totals and entry.n is not None else [([count], 1)]
    if value.listed and entry.n is None:
        return []
    if headed:
        return [([*label.split(), count], 2 if value.listed else 1)]
    return [(label.split(), 0), ([count], 0)]


def _origin(entry: Entry) -> str:
    named_only = entry.items and all(n is None for _, n in entry.items)
    what = "names reported" if named_only else "reported"
    return clean(f"{what}, grade {entry.grade}" if entry.grade else what)


def _count(n: int | None, entry: Entry) -> str:
    if n is None:
        return "(n = not reported)"
    return f"(n = {n:,}, derived)" if entry.origin == "derived" else f"(n = {n:,})"


def _height(lines: Iterable[Line]) -> float:
    return sum(line.height for line in lines)


def _wrapped(
    words: Iterable[str], width: float, *, indent: float = 0, note: bool = False
) -> list[Line]:
    """Lines no wider than `width`; a word is broken only where it alone is too wide.

    Indented text hangs, so that a long entry of a list looks like one entry.
    """
    size = NOTE_SIZE if note else SIZE
    hang = _HANG if indent else 0
    usable = (width - indent - hang) * _USABLE
    texts: list[list[str]] = []
    used = 0.0
    for piece in chain.from_iterable(_pieces(word, usable, size) for word in words):
        with_blank = _measure(f" {piece}", size)
        if texts and used + with_blank <= usable:
            texts[-1].append(piece)
            used += with_blank
        else:
            texts.append([piece])
            used = _measure(piece, size)
    return [Line(" ".join(text), indent + (hang if i else 0), note) for i, text in enumerate(texts)]


def _pieces(word: str, usable: float, size: float) -> list[str]:
    if _measure(word, size) <= usable:
        return [word]
    pieces, used = [""], 0.0
    for character in word:
        width = _measure(character, size)
        if used + width > usable and pieces[-1]:
            pieces.append("")
            used = 0
        pieces[-1] += character
        used += width
    return pieces


def _measure(text: str, size: float) -> float:
    return sum(_character_width(character) for character in text) * size / 1000


@lru_cache(4096)
def _character_width(character: str) -> int:
    if character in _CHARACTER_WIDTHS:
        return _CHARACTER_WIDTHS[character]
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 1000
    base = unicodedata.normalize("NFD", character)[0]
    return _CHARACTER_WIDTHS.get(base, 850)
