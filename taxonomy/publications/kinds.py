"""The kinds of facets and what a visitor chooses in each: all that a page, a form or a count asks.

A facet says which rows have its values; what is chosen of it is a list of these values. So the
list filters by the rows themselves, and the counts by the bits that are kept of them, alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

from django import forms
from django.db.models import F, Model, QuerySet, TextChoices
from django.db.models.expressions import Combinable

from reviewapp.corpus.models import Publication
from reviewapp.ui.fields import WholeNumberField
from taxonomy.models import Claim

FIRST_YEAR, LAST_YEAR = 1950, 2100
NOT_STATED = "not-stated"  # the choice of rows that do not say


@dataclass(frozen=True)
class Choice:
    """A value of a facet: in the address, in a list, in a sentence, and in the database."""

    value: str
    label: str
    phrase: str
    stored: Any
    heading: str = ""


def listed(kinds: type[TextChoices], phrase: str = "{}") -> tuple[Choice, ...]:
    """Return a choice for each, in their order."""
    return tuple(
        Choice(kind.value, str(kind.label), phrase.format(str(kind.label).lower()), kind.value)
        for kind in kinds
    )


@dataclass(frozen=True)
class Chip:
    """One thing chosen, and the keys and value of the address that it stands for."""

    label: str
    keys: tuple[str, ...]
    value: str | None = None


class Filter(Protocol):
    """What a visitor has chosen in one facet; nothing chosen lets every publication pass."""

    @property
    def facet(self) -> "Facet": ...

    @property
    def stored(self) -> list[Any]:
        """Return the values of which a publication has at least one; none if nothing is chosen."""

    @property
    def phrase(self) -> str:
        """Return the part of the page's sentence."""

    @property
    def chips(self) -> list[Chip]: ...

    @property
    def query(self) -> list[tuple[str, str]]:
        """Return the keys and values of the address."""


Rows = TypeVar("Rows", bound=QuerySet[Any])


@dataclass(frozen=True)
class Facet:
    """Something that publications are filtered by.

    Each row of `model` (Publication, Claim, or a link to publications) has one `value`: a field,
    the path to one, or an expression of the row's own columns. One that is `folded` stands closed
    on the page until something of it is chosen.
    """

    key: str
    label: str
    model: type[Model]
    value: str | Combinable
    help_text: str = field(default="", kw_only=True)
    folded: bool = field(default=False, kw_only=True)

    @property
    def speaks_of_claims(self) -> bool:
        return self.model is Claim

    @property
    def alias(self) -> str:
        """Return the name that the value has in `rows`."""
        return f"facet_{self.key}"

    @property
    def publication(self) -> str:
        """Return the field of the model that says of which publication a row is."""
        return "pk" if self.model is Publication else "publication"

    def rows(self) -> QuerySet[Any]:
        """Return every row of the model, each with its value."""
        return self.valued(self.model._default_manager.order_by())

    def valued(self, rows: Rows) -> Rows:
        """Return these rows of the model, each with its value."""
        return rows.alias(
            **{self.alias: F(self.value) if isinstance(self.value, str) else self.value}
        )

    def read(self) -> Self:
        """Return the facet with its choices, as the database has them now."""
        return self

    def fields(self) -> dict[str, forms.Field]:
        """Return the keys of the address and what each may hold."""
        raise NotImplementedError

    def chosen(self, given: dict[str, Any]) -> Filter:
        """Return what was chosen, given the cleaned values of the fields."""
        raise NotImplementedError


@dataclass(frozen=True)
class ListFacet(Facet):
    """A facet of which any of some choices can be taken."""

    read_choices: Callable[[], tuple[Choice, ...]]
    choices: tuple[Choice, ...] = ()

    def read(self) -> Self:
        return replace(self, choices=self.read_choices())

    def fields(self) -> dict[str, forms.Field]:
        field = forms.MultipleChoiceField(
            required=False,
            label=self.label,
            help_text=self.help_text,
            choices=[(choice.value, choice.label) for choice in self.choices],
            error_messages={"invalid_choice": f"There is no {self.key} “%(value)s”."},
        )
        return {self.key: field}

    def chosen(self, given: dict[str, Any]) -> "AnyOf":
        return AnyOf(self, tuple(c for c in self.choices if c.value in given[self.key]))


@dataclass(frozen=True)
class AnyOf:
    """Publications that have at least one of the chosen values."""

    facet: ListFacet
    taken: tuple[Choice, ...]

    @property
    def stored(self) -> list[Any]:
        return [choice.stored for choice in self.taken]

    @property
    def phrase(self) -> str:
        return " or ".join(choice.phrase for choice in self.taken)

    @property
    def chips(self) -> list[Chip]:
        return [
            Chip(f"{self.facet.label}: {choice.label}", (self.facet.key,), choice.value)
            for choice in self.taken
        ]

    @property
    def query(self) -> list[tuple[str, str]]:
        return [(self.facet.key, choice.value) for choice in self.taken]


@dataclass(frozen=True)
class YearFacet(Facet):
    """A facet of which a range of years can be taken."""

    def fields(self) -> dict[str, forms.Field]:
        words = {"from": "Of this year or later", "to": "Of this year or earlier"}
        return {
            key: WholeNumberField(
                required=False, min_value=FIRST_YEAR, max_value=LAST_YEAR, help_text=help_text
            )
            for key, help_text in words.items()
        }

    def chosen(self, given: dict[str, Any]) -> "Years":
        first, last = given["from"], given["to"]
        if first is not None and last is not None:
            first, last = sorted((first, last))
        return Years(self, first, last)


@dataclass(frozen=True)
class Years:
    """Publications of the years from `first` to `last`; a missing end is open."""

    facet: YearFacet
    first: int | None
    last: int | None

    @property
    def active(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def stored(self) -> list[Any]:
        return list(range(self.first or FIRST_YEAR, (self.last or LAST_YEAR) + 1)) * self.active

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


@dataclass(frozen=True)
class Switch(Facet):
    """A facet that is true or false of a publication, and can be asked to be true."""

    phrase: str

    def fields(self) -> dict[str, forms.Field]:
        field = forms.ChoiceField(
            required=False,
            choices=[("yes", "yes")],
            help_text=self.help_text,
            error_messages={"invalid_choice": f"“{self.key}” can be “yes” or left out."},
        )
        return {self.key: field}

    def chosen(self, given: dict[str, Any]) -> "Switched":
        return Switched(self, bool(given[self.key]))


@dataclass(frozen=True)
class Switched:
    """Publications of which the facet is true, where only these are asked for."""

    facet: Switch
    on: bool

    @property
    def stored(self) -> list[Any]:
        return [True] * self.on

    @property
    def phrase(self) -> str:
        return self.facet.phrase

    @property
    def chips(self) -> list[Chip]:
        return [Chip(self.facet.label, (self.facet.key,))] if self.on else []

    @property
    def query(self) -> list[tuple[str, str]]:
        return [(self.facet.key, "yes")] if self.on else []
