"""What a search finds, in groups: strategies first, then publications, claims and the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Protocol
from urllib.parse import urlencode

from django.urls import reverse

from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import FIRST, NEWEST
from taxonomy.models import Claim
from taxonomy.search.folding import fold, stems
from taxonomy.search.memory.entries import Entry, EntryKind, FoundEntry
from taxonomy.search.memory.index import Index, places
from taxonomy.search.reading import Search, read

SHOWN = 5  # of each group, where all groups are shown
LITERALLY = 1.0  # the least rank of what holds what was typed
NEWEST_CLAIM = ("-publication__facets__year", "publication", "position")


@dataclass(frozen=True)
class Hit:
    """One thing found: its name, its page, a line about it, and why it was found."""

    kind: str
    key: str  # by which the API knows it, where it does
    title: str
    url: str
    text: str
    because: str


class Hits(Protocol):
    """The hits of a group, best first; they are read when a slice of them is asked for."""

    @property
    def total(self) -> int: ...

    def __getitem__(self, wanted: slice) -> Sequence[Hit]: ...


@dataclass(frozen=True)
class Group:
    """What was found of one kind."""

    key: str
    title: str
    hits: Hits
    url: str  # of all of them
    lacks_a_word: bool  # no record has all that was typed, and these lack one of its words

    @cached_property
    def best(self) -> Sequence[Hit]:
        return self.hits[:SHOWN]

    @property
    def has_more(self) -> bool:
        return self.hits.total > SHOWN


GROUPS = {
    "strategies": "Strategies",
    "publications": "Publications",
    "claims": "Claims",
    "authors": "Authors",
    "hardware": "Hardware and models",
    "studies": "Case studies",
}
ENTRIES: dict[str, tuple[EntryKind, ...]] = {
    "strategies": ("strategy",),
    "authors": ("author",),
    "hardware": ("hardware", "model"),
    "studies": ("study",),
}


@dataclass(frozen=True)
class Found:
    """Everything that a search finds, in groups."""

    search: Search
    groups: Sequence[Group]

    @cached_property
    def total(self) -> int:
        return sum(group.hits.total for group in self.groups)

    @property
    def did_you_mean(self) -> str:
        """Return the text with misspelt words corrected; where nothing is found, a term like it."""
        return self.search.did_you_mean(nothing_found=not self.total)

    @property
    def filled(self) -> Sequence[Group]:
        return [group for group in self.groups if group.hits.total]


def find(text: str) -> Found:
    """Return what the text finds; the number of queries does not depend on how much that is."""
    search = read(text)
    loosened = replace(search, query=search.query.loosened)
    entries, others = search.entries(), loosened.entries()
    groups = []
    for key, title in GROUPS.items():
        hits = _hits(key, search, entries)
        if lacks := not hits.total and bool(loosened.query):
            hits = _hits(key, loosened, others)
        groups.append(Group(key, title, hits, _all_of(key, text), lacks))
    return Found(search, groups)


def _hits(key: str, search: Search, entries: Sequence[FoundEntry]) -> Hits:
    if key == "publications":
        return PublicationHits(search)
    if key == "claims":
        return ClaimHits(search)
    return EntryHits([found for found in entries if found.entry.kind in ENTRIES[key]])


def _all_of(key: str, text: str) -> str:
    if key == "publications":
        return f"{reverse('publications')}?{urlencode({'q': text})}"
    return f"{reverse('search')}?{urlencode({'q': text, 'group': key})}"


class EntryHits:
    def __init__(self, found: Sequence[FoundEntry]) -> None:
        self._found = found
        self.total = len(found)

    def __getitem__(self, wanted: slice) -> Sequence[Hit]:
        return [
            Hit(
                entry.kind,
                entry.key,
                entry.name,
                entry.url,
                entry.text,
                _counted(entry, found.because),
            )
            for found in self._found[wanted]
            for entry in [found.entry]
        ]


def _counted(entry: Entry, because: str) -> str:
    if entry.kind == "study":
        return because
    n = entry.publications
    return f"{because} · {n:,} publication{'' if n == 1 else 's'}"


class PublicationHits:
    def __init__(self, search: Search) -> None:
        self._search, self._found = search, search.publications()

    @cached_property
    def total(self) -> int:
        return self._found.count()

    def __getitem__(self, wanted: slice) -> Sequence[Hit]:
        rows = list(self._found.defer("search").order_by("-rank", *NEWEST)[wanted])
        because = _reasons(self._search, {row: _fields_of_publication(row) for row in rows})
        return [
            Hit(
                "publication",
                row.key,
                row.title,
                row.get_absolute_url(),
                f"{row.short_authors} · {row.year} · {row.venue} · {row.artifact_name}",
                because[row],
            )
            for row in rows
        ]


def _fields_of_publication(row: Publication) -> dict[str, str]:
    return {
        "title": f"{row.title} . {row.artifact_name}",
        "authors": " . ".join(row.authors),
        "summary": row.summary,
        "models": " . ".join(row.models_used),
        "hardware": " . ".join(row.hardware),
        "venue": f"{row.venue} {row.year}",
        "claims": row.claims_text,
        "identifiers": f"{row.key} {row.arxiv_id} {row.doi} {row.code_url}",
    }


class ClaimHits:
    def __init__(self, search: Search) -> None:
        self._search, self._found = search, search.claims()

    @cached_property
    def total(self) -> int:
        return self._found.count()

    def __getitem__(self, wanted: slice) -> Sequence[Hit]:
        found = self._found.defer("search").select_related("publication")
        rows = list(found.order_by("-rank", *NEWEST_CLAIM)[wanted])
        because = _reasons(self._search, {row: _fields_of_claim(row) for row in rows})
        return [
            Hit(
                "claim",
                row.code,
                str(row),
                row.get_absolute_url(),
                " · ".join(filter(None, (row.publication.artifact_name, row.conditions))),
                because[row],
            )
            for row in rows
        ]


def _fields_of_claim(row: Claim) -> dict[str, str]:
    return {
        "measure": f"{row.metric} {row.unit} {row.objective}",
        "hardware": row.hardware,
        "model": row.model,
        "baseline": row.baseline,
        "conditions": row.conditions,
        "publication": f"{row.publication.artifact_name} . {row.publication.title}",
    }


def _reasons(search: Search, rows: Mapping[Any, Mapping[str, str]]) -> dict[Any, str]:
    """Return, for each row, which of its fields hold what, as its page would be found by it."""
    fields = [(row, name, text) for row, named in rows.items() for name, text in named.items()]
    folded = fold([text for _, _, text in fields])
    stem = stems(chain.from_iterable(one.all_words for one in folded))
    index = Index([places(one, stem) for one in folded])
    typed = set(chain.from_iterable(map(index.with_phrase, search.query.forms)))
    return {row: _because(search, row, fields, typed, index) for row in rows}


def _because(
    search: Search, row: Any, fields: Sequence[tuple[Any, str, str]], typed: set[int], index: Index
) -> str:
    if row.rank >= FIRST:
        return f"found by its {search.identified.by}"
    own = [number for number, (other, _, _) in enumerate(fields) if other == row]
    if row.rank < LITERALLY and search.query.wider:
        return next(filter(None, (index.because(search.query, number) for number in own)), "")
    held = ", ".join(fields[number][1] for number in own if number in typed)
    return f"found in its {held}" if held else ""
