"""What the pages and the API read: the flow of the review, and a diagram with all that is shown."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from reviewapp.corpus.models import Review
from reviewapp.corpus.prisma import drawing
from reviewapp.corpus.prisma.checks import Check, checks
from reviewapp.corpus.prisma.csv_file import ParsedFlow
from reviewapp.corpus.prisma.flow import (
    VARIANTS,
    DiagramRow,
    Entry,
    Flow,
    FlowTemplate,
    derive,
    variant_for,
)
from reviewapp.corpus.prisma.layout import AS_IT_IS
from reviewapp.corpus.prisma.presentation import BAND_ROWS, BAR_ROWS, Presentation
from reviewapp.corpus.prisma.reading.remarks import Remark


@dataclass(frozen=True)
class Diagram:
    """A flow in one template, with all that the page and the exports show of it."""

    flow: Flow
    variant: FlowTemplate
    title: str
    links: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawn_as: Presentation = AS_IT_IS
    notices: tuple[Remark, ...] = ()

    @cached_property
    def complete(self) -> Flow:
        """Return the flow with the numbers that follow from reported ones."""
        return derive(self.flow, self.variant)

    @cached_property
    def svg(self) -> str:
        return drawing.svg(self.complete, self.variant, title=self.title, drawn_as=self.drawn_as)

    @property
    def linked_svg(self) -> SafeString:
        """Return the diagram for the page, its boxes linked to the records behind them."""
        drawn = drawing.svg(
            self.complete,
            self.variant,
            title=self.title,
            links=self.links,
            drawn_as=self.drawn_as,
        )
        return mark_safe(drawn)  # noqa: S308 - built as an XML tree, so all text is escaped

    @cached_property
    def rows(self) -> list[DiagramRow]:
        return self.complete.as_rows(self.variant)

    @property
    def titles(self) -> list[tuple[str, str]]:
        """Return the official wording and the author's of the bars and bands that differ."""
        bars = {row: self.variant.column_title(arm) for arm, row in BAR_ROWS.items()}
        official = bars | {row: stage for stage, row in BAND_ROWS.items()}
        own = self.drawn_as.labels
        return [(title, own[row]) for row, title in official.items() if row in own]

    @cached_property
    def checks(self) -> list[Check]:
        return checks(self.complete, self.variant)

    @property
    def results(self) -> Counter[str]:
        """Return how many checks have each result."""
        return Counter(check.result for check in self.checks)

    @property
    def origins(self) -> Counter[str]:
        """Return how many numbers have each origin."""
        return Counter(row.origin for row in self.rows)


def diagram_of_review(options: dict[str, Any]) -> Diagram:
    """Return the diagram of the review; Http404 before one is loaded."""
    review = get_object_or_404(Review.objects.prefetch_related("flow_numbers", "databases").shown())
    flow = review_flow(review)
    return Diagram(
        flow,
        VARIANTS.get(options["variant"]) or variant_for(flow),
        f"PRISMA 2020 flow diagram of “{review.title}”",
        {"box10": f"{reverse('publications')}?membership=named&membership=reconstructed"},
        drawn_as=_presentation(options, {}, unreported=True),
    )


def own_diagram(parsed: ParsedFlow, options: dict[str, Any]) -> Diagram:
    """Return the diagram of a file or form, drawn as the options of its form ask for."""
    return Diagram(
        parsed.flow,
        VARIANTS.get(options["variant"]) or variant_for(parsed.flow),
        "PRISMA 2020 flow diagram",
        texts=parsed.texts,
        drawn_as=_presentation(options, parsed.labels, unreported=options["unreported"]),
        notices=parsed.notices,
    )


def _presentation(
    options: dict[str, Any], labels: Mapping[str, str], *, unreported: bool
) -> Presentation:
    return Presentation(
        labels,
        unreported=unreported,
        totals=options["totals"],
        screening_reasons=options["screening_reasons"],
    )


def review_flow(review: Review) -> Flow:
    """Return the PRISMA numbers that a source reports of the review, each with its grade.

    The names of the searched databases are known without their numbers.
    """
    entries = {
        number.key: Entry(number.n, origin="reported", grade=number.grade, note=number.note)
        for number in review.flow_numbers.all()
    }
    databases = list(review.databases.all())
    if databases and "database_specific_results" not in entries:
        unnamed = (review.database_count or 0) - len(databases)
        entries["database_specific_results"] = Entry(
            items=tuple((database.name, None) for database in databases),
            origin="reported",
            grade="/".join(sorted({database.grade for database in databases})),
            note=f"names only; {unnamed} more database not named" if unnamed > 0 else "names only",
        )
    return Flow(entries)
