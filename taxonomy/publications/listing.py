"""What the list of publications shows for an address, remembered until something changes.

Nine of ten visitors ask for what another has just asked for: the whole list, or a class of it. What
depends on the visitor, as the compare buttons do, is no part of it.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

from django.db.models import F
from django.http import QueryDict
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import HIT_START, HIT_STOP, PublicationQuerySet
from reviewapp.ui.listing import PER_PAGE
from taxonomy.publications.facet_counts import Counts, count
from taxonomy.publications.facets import facets_in
from taxonomy.publications.filter import PublicationFilter, read_filter
from taxonomy.publications.kinds import ListFacet
from taxonomy.publications.matching import MatchingClaims, matching_claims
from taxonomy.publications.panel import panels

# PostgreSQL leaves out what looks like a tag when it marks hits.
WITHOUT_MARKS = str.maketrans("", "", HIT_START + HIT_STOP)


@dataclass(frozen=True, eq=False)
class ListedPublication:
    """A publication in the list, the name and the address of each of its strategies, and claims.

    `matching` are those that were asked for; None where none were.
    """

    publication: Publication
    strategies: list[tuple[str, str]]
    matching: MatchingClaims | None

    @property
    def title(self) -> str:
        return self._marked("title")

    @property
    def summary(self) -> str:
        return self._marked("summary")

    @cached_property
    def html(self) -> SafeString:
        """Return what is said of it below its title, as HTML."""
        return render_to_string("taxonomy/_result.html", {"result": self})

    def _marked(self, field: str) -> str:
        """Return the text with its hits marked, unless marking them has changed the text."""
        text: str = getattr(self.publication, field)
        marked: str = getattr(self.publication, f"{field}_hits", text)
        return marked if marked.translate(WITHOUT_MARKS) == text else text


@dataclass(frozen=True, eq=False)
class Listing:
    """What an address asks for, with the counts of each facet."""

    shown: PublicationFilter
    counts: Counts
    links: dict[int, tuple[str, str]]  # name and address of each strategy, by its id

    @property
    def rows(self) -> PublicationQuerySet:
        """Return the publications in their order."""
        rows = self.shown.publications().defer("search", "claims_text", "sources", "limitation")
        rows = rows.annotate(
            strategy_ids=F("facets__strategies"), claim_count=F("facets__claim_count")
        )
        if self.counts.few is not None:
            rows = rows.filter(pk__in=self.counts.few)
        if not self.shown.search:
            return rows
        # Of a synonym's words each would be marked, also where it stands alone.
        return rows.with_headlines(next(iter(self.shown.search.query.ranks), ""))

    @cached_property
    def facets_html(self) -> SafeString:
        """Return the choices of all facets with their counts as HTML."""
        found = {"panels": panels(self.shown, self.counts)}
        return render_to_string("taxonomy/_facets.html", found)


@lru_cache(32)
def listing(query: str, state: str) -> Listing:
    """Return what the query of an address asks for, remembered while `revision()` says `state`.

    Raises BadRequest as `read_filter` does.
    """
    facets = facets_in(state)
    shown = read_filter(QueryDict(query), list(facets))
    lists = {facet.key: facet for facet in facets if isinstance(facet, ListFacet)}
    choices = lists["strategy"].choices
    links = {c.stored: (c.label, reverse("strategy", args=[c.value])) for c in choices}
    return Listing(shown, count(shown), links)


@lru_cache(64)
def listed(query: str, page: int, state: str, _findings: str) -> list[ListedPublication]:
    """Return the publications on a page of the list, remembered while both revisions stay."""
    found = listing(query, state)
    rows = list(found.rows[(page - 1) * PER_PAGE : page * PER_PAGE])
    matching = matching_claims(found.shown, rows)
    return [
        ListedPublication(
            row,
            [found.links[pk] for pk in row.strategy_ids if pk in found.links],
            matching.get(row.pk),
        )
        for row in rows
    ]
