"""What the list of publications shows: read from an address, applied, and said in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import F, Model
from django.db.models.functions import Lower
from django.http import QueryDict
from django.urls import reverse

from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import NEWEST, PublicationQuerySet
from reviewapp.ui.errors import cleaned_or_400
from taxonomy.models import Claim
from taxonomy.publications.kinds import AnyOf, Chip, Choice, Facet, Filter, Rows
from taxonomy.querysets import ClaimQuerySet
from taxonomy.search.reading import Search, read
from taxonomy.search.syntax import MOST_CHARACTERS

SORTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "relevance": ("Best match", ("-rank", *NEWEST)),
    "newest": ("Newest", NEWEST),
    # Exactly the reverse, so that one index serves both.
    "oldest": ("Oldest", ("year", "month", "-key")),
    "title": ("Title", (Lower("title"), "key")),
    "claims": ("Most claims", ("-facets__claim_count", "-facets__year", "-pk")),
    "size": ("Largest model", (F("max_params_billion").desc(nulls_last=True), *NEWEST)),
}


class PublicationForm(forms.Form):
    """The keys of the address and the values that each may have."""

    q = forms.CharField(
        required=False,
        max_length=MOST_CHARACTERS,
        help_text="Words to search for; quotes, OR and a hyphen before a word as in a web search",
        error_messages={"max_length": "A search may have at most 200 characters."},
    )
    sort = forms.ChoiceField(
        required=False,
        choices=[(key, label) for key, (label, _) in SORTS.items()],
        help_text="The order; without it the best match of a search, else the newest",
        error_messages={"invalid_choice": "There is no sort order “%(value)s”."},
    )

    def __init__(self, data: QueryDict, facets: Iterable[Facet]) -> None:
        super().__init__(data)
        for facet in facets:
            self.fields.update(facet.fields())


@dataclass(frozen=True)
class PublicationFilter:
    """A search, the filters chosen with it, and the order of the result."""

    search: Search | None
    filters: tuple[Filter, ...]
    sort: str

    @property
    def text(self) -> str:
        return self.search.text if self.search else ""

    @property
    def active(self) -> list[Filter]:
        return [chosen for chosen in self.filters if chosen.stored]

    def publications(self) -> PublicationQuerySet:
        """Return the publications that pass, in the chosen order."""
        found = self.search.publications() if self.search else Publication.objects.all()
        # Every publication has facets; saying so makes the join one that an index can order.
        found = found.filter(facets__isnull=False)
        links = [chosen for chosen in self.active if chosen.facet.model not in (Publication, Claim)]
        for chosen in links:
            found = found.filter(pk__in=_kept(chosen.facet.rows(), [chosen]).values("publication"))
        if self.of_claims:
            found = found.filter(pk__in=self.claims().values("publication"))
        found = _kept(found, self._active_of(Publication))
        return found.order_by(*SORTS[self.sort][1])

    def claims(self) -> ClaimQuerySet:
        """Return the claims that pass every filter of claims."""
        return _kept(Claim.objects.all(), self.of_claims)

    @property
    def of_claims(self) -> list[Filter]:
        """Return the filters of claims of which something is chosen."""
        return self._active_of(Claim)

    @property
    def strategies(self) -> tuple[Choice, ...]:
        """Return the strategies that were chosen."""
        return next(
            one.taken
            for one in self.filters
            if isinstance(one, AnyOf) and one.facet.key == "strategy"
        )

    def _active_of(self, model: type[Model]) -> list[Filter]:
        return [chosen for chosen in self.active if chosen.facet.model is model]

    @property
    def default_sort(self) -> str:
        return "relevance" if self.text else "newest"

    @property
    def sorts(self) -> list[tuple[str, str]]:
        """Return the orders to choose from; the best match needs a search."""
        return [(k, label) for k, (label, _) in SORTS.items() if self.text or k != "relevance"]

    @property
    def query(self) -> list[tuple[str, str]]:
        """Return the keys and values of the address, without defaults."""
        pairs = [("q", self.text)] if self.text else []
        pairs += [pair for chosen in self.filters for pair in chosen.query]
        return pairs + ([("sort", self.sort)] if self.sort != self.default_sort else [])

    @property
    def url(self) -> str:
        return address(self.query)

    @property
    def chips(self) -> list[tuple[str, str]]:
        """Return, for each thing chosen, its label and the address without it."""
        chips = [Chip(f"Search: {self.text}", ("q",))] if self.text else []
        chips += [chip for chosen in self.filters for chip in chosen.chips]
        return [(chip.label, self._without(chip)) for chip in chips]

    def _without(self, chip: Chip) -> str:
        return address(
            (key, value)
            for key, value in self.query
            if key not in chip.keys or (chip.value is not None and value != chip.value)
        )

    def sentence(self, total: int, counted: int) -> str:
        """Return what is shown, in words: how many, of what, and how many the review counts."""
        noun = "publication" if total == 1 else "publications"
        chosen = [f"matching “{self.search.searched or self.text}”"] if self.search else []
        chosen += [part.phrase for part in self.active]
        what = f": {', '.join(chosen)}" if chosen else ""
        return f"{total:,} {noun}{what}; {counted:,} counted in the review"


def address(query: Iterable[tuple[str, str]]) -> str:
    """Return the address of the list with this query."""
    encoded = urlencode(list(query))
    return reverse("publications") + (f"?{encoded}" if encoded else "")


def _kept(rows: Rows, filters: Iterable[Filter]) -> Rows:
    """Return those of the rows of one model that pass all these filters."""
    for chosen in filters:
        rows = chosen.facet.valued(rows).filter(**{f"{chosen.facet.alias}__in": chosen.stored})
    return rows


def read_filter(data: QueryDict, facets: list[Facet]) -> PublicationFilter:
    """Return what an address asks for; keys that are not known are ignored.

    Raises BadRequest, with a sentence for the reader, for a value that cannot be.
    """
    given = cleaned_or_400(PublicationForm(data, facets))
    text = given["q"]
    sort = given["sort"] or ("relevance" if text else "newest")
    if sort == "relevance" and not text:
        sort = "newest"
    filters = tuple(facet.chosen(given) for facet in facets)
    return PublicationFilter(read(text) if text else None, filters, sort)
