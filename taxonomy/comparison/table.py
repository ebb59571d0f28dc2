"""A comparison as a table: items are columns, properties are rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from django.utils.safestring import SafeString


@dataclass(frozen=True)
class Part:
    """One thing that a cell says, with the address behind it and what supports it."""

    text: str
    href: str = ""
    note: str = ""
    grade: str = ""
    grade_meaning: str = ""

    def __str__(self) -> str:
        return self.text + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Cell:
    """What one item has of one property; without parts, `missing` says why there are none."""

    parts: tuple[Part, ...] = ()
    missing: str = ""
    amount: float | None = None  # a plain count or year, which may be subtracted from another
    amount_of: str = ""  # what is counted, where the cell does not make it plain
    delta: str = ""  # how far the amount is from the baseline's
    details: tuple[Part, ...] = ()  # the sources of the numbers in the parts
    more: int = 0  # how many sources there are beyond those

    @property
    def text(self) -> str:
        """Return the whole of it in one line; empty when there is nothing."""
        return "; ".join(str(part) for part in self.parts)

    @property
    def with_delta(self) -> str:
        """Return the text with the difference from the baseline, or a dash with the reason."""
        if not self.parts:
            return f"— ({self.missing})"
        return f"{self.text} [{self.delta}]" if self.delta else self.text


@dataclass(frozen=True)
class Row:
    """One property of every item."""

    label: str
    cells: tuple[Cell, ...]
    note: str = ""

    @property
    def differs(self) -> bool:
        """Whether the items do not all say the same."""
        return len({cell.text for cell in self.cells}) > 1

    def relative_to(self, column: int) -> Self:
        """Return the row with each amount also as its distance from that of one column."""
        base = self.cells[column].amount
        return replace(
            self,
            cells=tuple(
                cell
                if base is None or cell.amount is None or n == column
                else replace(cell, delta=f"{_signed(cell.amount - base)} {cell.amount_of}".strip())
                for n, cell in enumerate(self.cells)
            ),
        )


Thing = TypeVar("Thing")


def row(label: str, things: Iterable[Thing], cell: Callable[[Thing], Cell]) -> Row:
    """Return the row with the cell that each thing has of one property."""
    return Row(label, tuple(cell(thing) for thing in things))


def text(content: str, missing: str = "nothing is recorded") -> Cell:
    """Return the cell with this text, or with why there is none."""
    return Cell((Part(content),)) if content else Cell(missing=missing)


@dataclass(frozen=True)
class Section:
    """Rows under one heading."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Item:
    """A column: what is compared."""

    slug: str
    name: str
    href: str
    sub: str = ""


@dataclass(frozen=True)
class Described:
    """The columns, the items' names by id in the same order, and what is known of them."""

    items: tuple[Item, ...]
    names: Mapping[int, str]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class ComparisonTable:
    """Everything that a comparison shows, on the page and in its exports.

    Rows of which only one item has anything stand apart, after the others.
    """

    items: tuple[Item, ...]
    sections: tuple[Section, ...]
    one_sided: tuple[Section, ...]
    not_drawn: str  # why there is no chart, or not another one
    charts: Callable[[], SafeString]  # to call only where they are drawn

    @property
    def all_sections(self) -> tuple[Section, ...]:
        """Return the sections in the order of the page: those of one item only come last."""
        return *self.sections, *self.one_sided

    @property
    def hidden(self) -> int:
        """Return how many rows say the same of every item."""
        return sum(not row.differs for section in self.all_sections for row in section.rows)

    @property
    def folded(self) -> int:
        """Return of how many rows only one item has anything."""
        return sum(len(section.rows) for section in self.one_sided)

    def relative_to(self, slug: str) -> Self:
        """Return the comparison with amounts relative to those of the item `slug`."""
        column = [item.slug for item in self.items].index(slug)
        return self._with_rows(lambda rows: [row.relative_to(column) for row in rows])

    def only_differences(self) -> Self:
        """Return the comparison without rows that say the same of every item."""
        return self._with_rows(lambda rows: [row for row in rows if row.differs])

    def _with_rows(self, change: Callable[[Iterable[Row]], Iterable[Row]]) -> Self:
        def changed(sections: Iterable[Section]) -> tuple[Section, ...]:
            new = (replace(section, rows=tuple(change(section.rows))) for section in sections)
            return tuple(section for section in new if section.rows)

        return replace(self, sections=changed(self.sections), one_sided=changed(self.one_sided))


def _signed(difference: float) -> str:
    return f"+{difference:,.0f}" if difference > 0 else f"{difference:,.0f}".replace("-", "−")
