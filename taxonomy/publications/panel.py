"""The facet panel of the list of publications, ready to be drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from taxonomy.publications.facet_counts import Counts
from taxonomy.publications.facets import AnyOf, Choice, Counted, ListFacet, Years
from taxonomy.publications.filter import PublicationFilter

WIDTH, HEIGHT = 220, 44  # of the year chart, in SVG units
FEWEST_BARS = 8  # one or two years alone would be drawn as blocks


@dataclass(frozen=True)
class FacetOption:
    choice: Choice
    count: int
    chosen: bool


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
class CountedPanel:
    """Whether only what the review counts is shown."""

    counted: Counted


def panels(
    shown: PublicationFilter, counts: Counts
) -> Iterator[FacetPanel | YearPanel | CountedPanel]:
    """Yield every facet with its counts, in the order of the page."""
    for chosen in shown.filters:
        if isinstance(chosen, AnyOf):
            yield _facet_panel(chosen, counts)
        elif isinstance(chosen, Years):
            yield YearPanel(chosen, _bars(chosen, counts))
        elif isinstance(chosen, Counted):
            yield CountedPanel(chosen)


def _facet_panel(chosen: AnyOf, counts: Counts) -> FacetPanel:
    numbers = counts.by_facet[chosen.key]
    options = [
        FacetOption(choice, numbers[choice.stored], choice in chosen.chosen)
        for choice in chosen.facet.choices
    ]
    headings = groupby(options, key=lambda option: option.choice.heading)
    return FacetPanel(
        chosen.facet, [OptionBlock(heading, list(group)) for heading, group in headings]
    )


def _bars(years: Years, counts: Counts) -> list[YearBar]:
    numbers = counts.by_facet["year"]
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
            chosen=years.passes(year),
        )
        for place, year in enumerate(span)
    ]
