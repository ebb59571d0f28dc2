"""From the text that somebody typed to what is searched for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse

from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import PublicationQuerySet, matching
from taxonomy.models import Claim
from taxonomy.queries import revision
from taxonomy.querysets import ClaimQuerySet
from taxonomy.search.correcting import Corrections, corrections, nearest_term
from taxonomy.search.identifiers import Identified, identified
from taxonomy.search.memory.entries import FoundEntry
from taxonomy.search.memory.known import Known, Term, known
from taxonomy.search.query import Query
from taxonomy.search.wording import Wording

NAMED = "named by a part of what was typed"


@dataclass(frozen=True)
class Suggestion:
    """Something to look at instead or besides, and its page."""

    name: str
    url: str


@dataclass(frozen=True)
class Search:
    """What a text asks for, and how it was understood."""

    text: str
    query: Query
    identified: Identified
    terms: tuple[Term, ...]  # of the field that the text names
    keys: tuple[str, ...]  # of the text as a whole
    memory: Known = field(repr=False)
    corrected: Mapping[str, str]  # words that no record holds, each with the one searched for
    searched: str  # the text with these words corrected, if there are any
    perhaps: str  # the text with words corrected that are rare, to offer

    def publications(self) -> PublicationQuerySet:
        """Return the publications found, annotated with `rank`."""
        first = Q(pk__in=self.identified.publications) if self.identified.publications else None
        return matching(Publication.objects.all(), self.query.written(), self.query.ranks, first)

    def claims(self) -> ClaimQuerySet:
        """Return the claims found, and those of publications named by the text, with `rank`."""
        named = self.identified.publications
        first = Q(publication__in=named) if named else None
        return matching(Claim.objects.all(), self.query.written(), self.query.ranks, first)

    def entries(self) -> list[FoundEntry]:
        """Return the strategies, authors, hardware, models and studies found, best first."""
        found = self.memory.entries.found(self.query, self.keys)
        known = {one.entry for one in found}
        slugs = dict.fromkeys(term.strategy for term in self.terms if term.strategy)
        named = (self.memory.strategies[slug] for slug in slugs)
        return found + [FoundEntry(one, NAMED, 0) for one in named if one not in known]

    def did_you_mean(self, *, nothing_found: bool) -> str:
        """Return what may have been meant; where nothing is found, a term like the text."""
        if offered := self.searched or self.perhaps:
            return offered
        return nearest_term(self.keys[0], self.memory) if nothing_found and self.keys else ""

    @property
    def also(self) -> list[str]:
        """Return what is searched besides what was typed, as the field writes it."""
        return list(dict.fromkeys(wider.text for wider in self.query.wider))

    @property
    def see_also(self) -> list[Suggestion]:
        """Return the strategies and searches that are worth a look beside this one."""
        texts = dict.fromkeys(chain.from_iterable(term.see_also for term in self.terms))
        strategies = self.memory.strategies
        return [
            Suggestion(strategies[text].name, strategies[text].url)
            if text in strategies
            else Suggestion(text, address(text))
            for text in texts
        ]


def address(text: str) -> str:
    """Return the address of the search for this text."""
    return f"{reverse('search')}?{urlencode({'q': text})}"


def read(text: str) -> Search:
    """Return what the text asks for, with words that no record holds taken for the nearest one."""
    memory, named = known(revision()), identified(text)
    wording = Wording(text, memory)
    wrong = Corrections() if named.publications else corrections(wording, memory)
    perhaps = wording.corrected(wrong.perhaps) if wrong.perhaps else ""
    searched = wording.corrected(wrong.sure) if wrong.sure else ""
    if searched:
        wording = Wording(searched, memory)
    query, terms = wording.query()
    return Search(text, query, named, terms, wording.keys, memory, wrong.sure, searched, perhaps)
