"""Named queries over publications."""

import re
from typing import Any, Self

from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchRank
from django.db import models
from django.db.models import F

from reviewapp.corpus.choices import COUNTED, Membership

# Private-use characters mark a hit in a headline; the template turns them into <mark>
# after it has escaped the text around them.
HIT_START, HIT_STOP = "\ue000", "\ue001"


def search_query(text: str) -> SearchQuery:
    """Return the text query: web-search syntax, or all the words with the last as a prefix."""
    query = SearchQuery(text, config="english", search_type="websearch")
    # A hyphen before a word excludes it, and what is being typed then is no list of words.
    if re.fullmatch(r"\s*\w+((\s+|-)\w+)*\s*", text):
        words = re.findall(r"\w+", text)
        prefix = " & ".join([f"'{word}'" for word in words[:-1]] + [f"'{words[-1]}':*"])
        query = query | SearchQuery(prefix, config="english", search_type="raw")
    return query


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

    def matching(self, text: str) -> Self:
        """Keep the publications whose search vector matches, annotated with `rank` (0 to 1)."""
        query = search_query(text)
        return self.filter(search=query).annotate(rank=SearchRank(F("search"), query))

    def with_headlines(self, text: str) -> Self:
        """Annotate `title_hits` and `summary_hits`: the text with the hits marked."""
        query = search_query(text)

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
