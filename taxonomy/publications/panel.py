"""The facet panel of the list of publications, ready to be drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from taxonomy.publications.facet_counts import Counts
from taxonomy.publications.filter import PublicationFilter, address
from taxonomy.publications.kinds import (
    NOT_STATED,
    AnyOf,
    Choice,
    Facet,
    ListFacet,
    Switched,
    Years,
)

WIDTH, HEIGHT = 220, 44  # of the year chart, in SVG units
FEWEST_BARS = 8  # one or two years alone would be drawn as blocks


@dataclass(frozen=True)
class FacetOption:
    """A choice and how many publications have it; idle, if to choose it shows none, or the same."""

    choice: Choice
    count: int
    chosen: bool
    idle: bool


@dataclass(frozen=True)
class OptionBlock:
    """Options under one heading; a facet without headings has a single block."""

    heading: str
    options: list[FacetOption]

    @property
    def chosen(self) -> int:
        return sum(option.chosen for option in self.options)


@dataclass(frozen=True)
class FacetPanel:
    facet: ListFacet
    blocks: list[OptionBlock]

    @property
    def chosen(self) -> int:
        return sum(block.chosen for block in self.blocks)

    @property
    def speaks_of_claims(self) -> bool:
        return self.facet.speaks_of_claims


@dataclass(frozen=True)
class YearBar:
    year: int
    count: int
    x: float
    y: float
    width: float
    height: float
    chosen: bool


@dataclass(frozen=True)
class YearPanel:
    """Publications per year, given the other facets, and the years asked for."""

    years: Years
    bars: list[YearBar]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def label(self) -> str:
        counts = ", ".join(f"{bar.year}: {bar.count}" for bar in self.bars)
        return f"Publications by year. {counts}"


@dataclass(frozen=True)
class SwitchPanel:
    """Whether only that of which the facet is true is shown."""

    switch: Switched


def panels(
    shown: PublicationFilter, counts: Counts
) -> Iterator[FacetPanel | YearPanel | SwitchPanel]:
    """Yield every facet with its counts, in the order of the page."""
    for chosen in shown.filters:
        if isinstance(chosen, AnyOf):
            yield _facet_panel(chosen, counts)
        elif isinstance(chosen, Years):
            yield YearPanel(chosen, _bars(chosen, counts))
        elif isinstance(chosen, Switched):
            yield SwitchPanel(chosen)


@dataclass(frozen=True)
class Unstated:
    """A facet of which something is chosen, and the publications that do not say what they are.

    `url` shows these instead, with all else that is chosen.
    """

    facet: Facet
    count: int
    url: str


def unstated(shown: PublicationFilter, counts: Counts) -> Iterator[Unstated]:
    """Yield what a reader who finds nothing should know: what would pass, but is not stated."""
    for chosen in shown.active:
        facet = chosen.facet
        if n := counts.by_facet[facet.key][NOT_STATED]:
            others = [(key, value) for key, value in shown.query if key != facet.key]
            yield Unstated(facet, n, address([*others, (facet.key, NOT_STATED)]))


def _facet_panel(chosen: AnyOf, counts: Counts) -> FacetPanel:
    numbers = counts.by_facet[chosen.facet.key]
    idle = {0} if chosen.taken else {0, counts.total}
    options = [
        FacetOption(
            choice,
            count := numbers[choice.stored],
            chosen=choice in chosen.taken,
            idle=count in idle,
        )
        for choice in chosen.facet.choices
    ]
    headings = groupby(options, key=lambda option: option.choice.heading)
    return FacetPanel(
        chosen.facet, [OptionBlock(heading, list(group)) for heading, group in headings]
    )


def _bars(years: Years, counts: Counts) -> list[YearBar]:
    numbers = counts.by_facet[years.facet.key]
    if not numbers:
        return []
    span = range(min(numbers), max(numbers) + 1)
    step, tallest = WIDTH / max(len(span), FEWEST_BARS), max(numbers.values())
    return [
        YearBar(
            year=year,
            count=numbers[year],
            x=round(place * step, 1),
            y=round(HEIGHT * (1 - numbers[year] / tallest), 1),
            width=round(step * 0.8, 1),
            height=round(HEIGHT * numbers[year] / tallest, 1),
            chosen=not years.active or year in years.stored,
        )
        for place, year in enumerate(span)
    ]
