"""Named queries over publications."""

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchRank
from django.db import models
from django.db.models import Case, F, Q, Value, When

from reviewapp.corpus.choices import COUNTED, Membership

# Private-use characters mark a hit in a headline; the template turns them into <mark>
# after it has escaped the text around them.
HIT_START, HIT_STOP = "\ue000", "\ue001"


NEWEST = ("-year", "-month", "key")
Rows = TypeVar("Rows", bound=models.QuerySet[Any])
FIRST = 100.0  # above every rank that a text can have


def search_query(written: str) -> SearchQuery:
    """Return a query whose words are folded and stemmed already, as the search column's are."""
    return SearchQuery(written, config="simple", search_type="raw")


def matching(rows: Rows, wanted: str, ranks: Sequence[str] = (), first: Q | None = None) -> Rows:
    """Keep the rows whose `search` matches, annotated with `rank`: the best have the highest.

    A row is ranked by the first of `ranks` that it matches; it comes before those that only match
    a later one. Rows for which `first` holds are kept and lead.
    """
    condition = Q(search=search_query(wanted)) if wanted else Q(pk__isnull=True)
    steps = [
        When(search=query, then=SearchRank(F("search"), query) + above)
        for above, query in enumerate(map(search_query, reversed(ranks)))
    ][::-1]
    if first is not None:
        condition |= first
        steps.insert(0, When(first, then=Value(FIRST)))
    rank = Case(*steps, default=Value(0.0), output_field=models.FloatField())
    return rows.filter(condition).annotate(rank=rank)


class ReviewQuerySet(models.QuerySet[Any]):
    def shown(self) -> Self:
        """Keep the one review that the site is about: the first, should there be others."""
        return self.order_by("pk")[:1]


class PublicationQuerySet(models.QuerySet[Any]):
    def in_review(self) -> Self:
        """Keep the publications counted as the review's own: named and reconstructed."""
        return self.exclude(membership=Membership.EXTENSION)

    def membership_counts(self) -> dict[str, int]:
        """Return the number of each membership, and `counted`: all but the extensions."""
        counts = dict.fromkeys(Membership.values, 0)
        rows = self.order_by().values_list("membership").annotate(n=models.Count("*"))
        counts.update(dict(rows))
        return {**counts, "counted": sum(counts[kind] for kind in COUNTED)}

    def with_headlines(self, wanted: str) -> Self:
        """Annotate `title_hits` and `summary_hits`: the text with the hits marked."""
        query = search_query(wanted)

        def marked(field: str) -> SearchHeadline:
            return SearchHeadline(
                field,
                query,
                config="english",
                start_sel=HIT_START,
                stop_sel=HIT_STOP,
                highlight_all=True,
            )

        return self.annotate(title_hits=marked("title"), summary_hits=marked("summary"))
