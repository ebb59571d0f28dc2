"""Facets of the list of publications, as data: what can be chosen, and what a choice means."""

from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import Q, TextChoices

from reviewapp.corpus.choices import COUNTED, ArtifactKind, Confidence, Membership, VenueKind
from taxonomy.choices import Objective
from taxonomy.models import Family, Strategy, TaxonomyClass


@dataclass(frozen=True)
class Choice:
    """A value of a facet: in the address, in a list, in a sentence, and in the database."""

    value: str
    label: str
    phrase: str
    stored: Any
    heading: str = ""


@dataclass(frozen=True)
class ListFacet:
    """Something that publications are filtered by; `column` is one of PublicationFacets."""

    key: str
    label: str
    column: str
    choices: tuple[Choice, ...]
    many: bool = False


@dataclass(frozen=True)
class Chip:
    """One thing chosen, and the keys and value of the address that it stands for."""

    label: str
    keys: tuple[str, ...]
    value: str | None = None


class Filter(Protocol):
    """What a visitor has chosen in one facet; nothing chosen lets every publication pass."""

    @property
    def key(self) -> str: ...

    @property
    def column(self) -> str: ...

    @property
    def active(self) -> bool: ...

    @property
    def condition(self) -> Q:
        """Return the condition on PublicationFacets."""

    @property
    def phrase(self) -> str:
        """Return the part of the page's sentence."""

    @property
    def chips(self) -> list[Chip]: ...

    @property
    def query(self) -> list[tuple[str, str]]:
        """Return the keys and values of the address."""

    def passes(self, stored: Any) -> bool:
        """Return whether a publication passes that holds `stored` in the column."""


@dataclass(frozen=True)
class AnyOf:
    """Publications that have at least one of the chosen values."""

    facet: ListFacet
    chosen: tuple[Choice, ...]

    @property
    def key(self) -> str:
        return self.facet.key

    @property
    def column(self) -> str:
        return self.facet.column

    @property
    def active(self) -> bool:
        return bool(self.chosen)

    @property
    def stored(self) -> list[Any]:
        return [choice.stored for choice in self.chosen]

    @property
    def condition(self) -> Q:
        lookup = "overlap" if self.facet.many else "in"
        return Q(**{f"{self.column}__{lookup}": self.stored})

    @property
    def phrase(self) -> str:
        return " or ".join(choice.phrase for choice in self.chosen)

    @property
    def chips(self) -> list[Chip]:
        return [
            Chip(f"{self.facet.label}: {choice.label}", (self.key,), choice.value)
            for choice in self.chosen
        ]

    @property
    def query(self) -> list[tuple[str, str]]:
        return [(self.key, choice.value) for choice in self.chosen]

    def passes(self, stored: Any) -> bool:
        values = stored if isinstance(stored, list) else [stored]
        return not self.chosen or any(value in self.stored for value in values)


@dataclass(frozen=True)
class Years:
    """Publications of the years from `first` to `last`; a missing end is open."""

    first: int | None
    last: int | None
    key: str = "year"
    column: str = "year"

    @property
    def active(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def condition(self) -> Q:
        bounds = {"year__gte": self.first, "year__lte": self.last}
        return Q(**{lookup: year for lookup, year in bounds.items() if year is not None})

    @property
    def phrase(self) -> str:
        if self.first == self.last:
            return str(self.first)
        if self.last is None:
            return f"since {self.first}"
        return f"until {self.last}" if self.first is None else f"{self.first}–{self.last}"

    @property
    def chips(self) -> list[Chip]:
        return [Chip(f"Years: {self.phrase}", ("from", "to"))] if self.active else []

    @property
    def query(self) -> list[tuple[str, str]]:
        ends = [("from", self.first), ("to", self.last)]
        return [(key, str(year)) for key, year in ends if year is not None]

    def passes(self, stored: Any) -> bool:
        return (self.first is None or stored >= self.first) and (
            self.last is None or stored <= self.last
        )


@dataclass(frozen=True)
class Counted:
    """Publications that the review counts, where only these are asked for."""

    active: bool
    key: str = "counted"
    column: str = "membership"

    @property
    def condition(self) -> Q:
        return Q(membership__in=COUNTED)

    @property
    def phrase(self) -> str:
        return "without extensions"

    @property
    def chips(self) -> list[Chip]:
        return [Chip("Counted in the review only", (self.key,))] if self.active else []

    @property
    def query(self) -> list[tuple[str, str]]:
        return [(self.key, "yes")] if self.active else []

    def passes(self, stored: Any) -> bool:
        return not self.active or stored in COUNTED


def read_facets() -> list[ListFacet]:
    """Return every facet but the years, in the order of the page, with all their choices."""
    return [
        ListFacet("class", "Class", "classes", _named(TaxonomyClass), many=True),
        ListFacet("family", "Family", "families", _named(Family), many=True),
        ListFacet("strategy", "Strategy", "strategies", _strategies(), many=True),
        ListFacet(
            "objective", "Claims about", "objectives", _listed(Objective, "{} claims"), many=True
        ),
        ListFacet("venue", "Venue", "venue_kind", _listed(VenueKind)),
        ListFacet("artifact", "Artifact", "artifact_kind", _listed(ArtifactKind)),
        ListFacet("code", "Code", "has_code", CODE),
        ListFacet("membership", "Membership", "membership", _listed(Membership)),
        ListFacet("confidence", "Confidence", "confidence", _listed(Confidence, "{} confidence")),
    ]


CODE = (
    Choice("yes", "With code", "with code", stored=True),
    Choice("no", "No code known", "no code known", stored=False),
)


def _named(model: type[TaxonomyClass | Family]) -> tuple[Choice, ...]:
    rows = model._default_manager.values_list("slug", "name", "pk")
    return tuple(Choice(slug, name, name, pk) for slug, name, pk in rows)


def _strategies() -> tuple[Choice, ...]:
    rows = Strategy.objects.values_list("slug", "name", "pk", "group__family__name")
    return tuple(Choice(slug, name, name, pk, family) for slug, name, pk, family in rows)


def _listed(kinds: type[TextChoices], phrase: str = "{}") -> tuple[Choice, ...]:
    return tuple(
        Choice(kind.value, str(kind.label), phrase.format(str(kind.label).lower()), kind.value)
        for kind in kinds
    )
