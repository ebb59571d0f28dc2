"""What search knows of the field: its entries, its words and what else they are called."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from urllib.parse import urlencode

from django.db import connection
from django.db.models import Count, Q
from django.urls import reverse

from reviewapp.corpus.choices import Membership
from reviewapp.corpus.models import Publication
from taxonomy.choices import SynonymKind
from taxonomy.measured import studies_about
from taxonomy.models import Strategy, Synonym
from taxonomy.search.folding import Folded, fold, stems
from taxonomy.search.memory.entries import Entries, Entry, EntryKind, EntryText
from taxonomy.search.memory.index import lexemes, places
from taxonomy.search.query import Phrase, Step
from taxonomy.search.syntax import MOST_CHARACTERS

SHORTEST_CORRECTED = 4
TITLES = 2_000  # of the newest publications, whose words correct what is misspelt
NAMES = """
    SELECT kind, name, count(*) FROM (
        SELECT 'author' AS kind, unnest(authors) AS name FROM corpus_publication
        UNION ALL SELECT 'hardware', unnest(hardware) FROM corpus_publication
        UNION ALL SELECT 'model', unnest(models_used) FROM corpus_publication
    ) AS names GROUP BY kind, name ORDER BY kind, name
"""
SAID = {
    SynonymKind.SAME: (60, "found as a synonym of it: “{}”"),
    SynonymKind.WHOLE_WORD: (50, "found as a short form of it: “{}”"),
    SynonymKind.NARROWER: (30, "found as a kind of it: “{}”"),
}


@dataclass(frozen=True)
class Term:
    """Something that is searched by several texts, each with how it stands to the head."""

    head: str
    strategy: str  # its slug; empty where the term is no strategy
    texts: tuple[tuple[str, SynonymKind], ...]

    @property
    def see_also(self) -> list[str]:
        return [text for text, kind in self.texts if kind == SynonymKind.SEE_ALSO]


@dataclass(frozen=True)
class Known:
    """What is remembered until the taxonomy, its evidence or its synonyms change."""

    entries: Entries
    strategies: Mapping[str, Entry]  # by slug
    terms: Mapping[str, tuple[Term, ...]]  # by the key of what means the same
    phrases: Mapping[str, tuple[Phrase, ...]]  # by text, how it may be written
    words: Mapping[str, int]  # how often each stands in names and titles
    stem: Mapping[str, str]
    shown: Mapping[str, str]  # how a key is written

    @cached_property
    def spellings(self) -> list[str]:
        """Return the words that a misspelt one may be meant to be."""
        words = (word for word in self.words if word.isalpha() and self.stem[word])
        return [word for word in words if len(word) >= SHORTEST_CORRECTED]

    def terms_of(self, words: tuple[str, ...], stem: Mapping[str, str]) -> tuple[Term, ...]:
        """Return the terms that these words as a whole are or mean the same as."""
        found = chain.from_iterable(self.terms.get(key, ()) for key in keys(words, stem))
        return tuple(dict.fromkeys(found))


def phrase(words: Iterable[str], stem: Mapping[str, str]) -> Phrase | None:
    """Return the words as a phrase; None where too few are left without such as "the"."""
    steps: list[Step] = []
    distance, left_out = 1, 0
    for word in words:
        if stem[word]:
            steps.append(Step(lexemes(word, stem), distance))
            distance = 1
        else:
            distance, left_out = distance + 1, left_out + 1
    return Phrase(tuple(steps)) if len(steps) > min(left_out, 1) else None


@lru_cache(maxsize=1)
def known(state: str) -> Known:
    """Return what is known; it is remembered for as long as `revision()` says `state`."""
    strategies = _strategies()
    texts = [*_of_strategies(strategies), *_names(), *_studies(strategies)]
    terms = _terms()
    newest = Publication.objects.values_list("artifact_name", "title")[:TITLES]
    names, titles = zip(*newest, strict=True) if newest else ((), ())
    heads = [term.head for term in terms]
    plain = [*names, *heads, *(text for term in terms for text, _ in term.texts)]
    given = list(dict.fromkeys((*(text.text for text in texts), *plain, *titles)))
    folded = fold(given)
    by_text = dict(zip(given, folded, strict=True))
    stem = stems(chain.from_iterable((*f.all_words, f.key) for f in folded))
    return Known(
        entries=Entries((text, places(by_text[text.text], stem)) for text in texts),
        strategies={slug: entry for slug, (_, entry) in strategies.items()},
        terms=_by_key(terms, by_text, stem),
        phrases={text: _phrases(by_text[text], stem) for term in terms for text in _searched(term)},
        words=Counter(chain.from_iterable(f.all_words for f in folded))
        + Counter(by_text[text].key for text in plain),
        stem=stem,
        # Of several writings, that of a publication's name or a head; none of a plain word.
        shown={
            by_text[text].key: text
            for text in reversed(plain)
            if text[1:] != text[1:].lower() or " " in text
        },
    )


def _searched(term: Term) -> list[str]:
    return [term.head, *(text for text, kind in term.texts if kind != SynonymKind.SEE_ALSO)]


def _phrases(folded: Folded, stem: Mapping[str, str]) -> tuple[Phrase, ...]:
    """Return how the text may be written: its words one after the other, or as one word."""
    written = phrase(folded.words, stem)
    as_one = Phrase((Step(lexemes(folded.key, stem)),))
    return tuple(dict.fromkeys((written, as_one) if written else (as_one,)))


def _by_key(
    terms: Iterable[Term], by_text: Mapping[str, Folded], stem: Mapping[str, str]
) -> dict[str, tuple[Term, ...]]:
    found: dict[str, tuple[Term, ...]] = {}
    alike = {SynonymKind.SAME, SynonymKind.WHOLE_WORD}
    for term in terms:
        for text in (term.head, *(text for text, kind in term.texts if kind in alike)):
            for key in keys(by_text[text].words, stem):
                if term not in found.get(key, ()):
                    found[key] = (*found.get(key, ()), term)
    return found


def keys(words: tuple[str, ...], stem: Mapping[str, str]) -> list[str]:
    """Return the keys under which words are known as a term: as written, and by their stems."""
    return ["".join(words), "".join(stem[word] or word for word in words)]


def _terms() -> list[Term]:
    rows = Synonym.objects.values_list("strategy__slug", "head", "kind", "text")
    by_head: dict[tuple[str, str], list[tuple[str, SynonymKind]]] = {}
    for slug, head, kind, text in rows:
        by_head.setdefault((slug or "", head), []).append((text, SynonymKind(kind)))
    return [Term(head, slug, tuple(texts)) for (slug, head), texts in by_head.items()]


def _strategies() -> dict[str, tuple[Strategy, Entry]]:
    counted = ~Q(evidence__publication__membership=Membership.EXTENSION)
    rows = (
        Strategy.objects.select_related("group__family")
        .prefetch_related("classes", "synonyms")
        .annotate(counted=Count("evidence", filter=counted))
    )
    return {
        row.slug: (
            row,
            Entry("strategy", row.slug, row.name, row.get_absolute_url(), row.idea, row.counted),
        )
        for row in rows
    }


def _of_strategies(strategies: Mapping[str, tuple[Strategy, Entry]]) -> Iterator[EntryText]:
    for slug, (row, entry) in strategies.items():
        yield EntryText(entry, row.name, 80, "found by its name")
        yield EntryText(entry, slug, 70, "found by its name")
        synonyms = row.synonyms.all()
        for synonym in synonyms:
            if said := SAID.get(SynonymKind(synonym.kind)):
                weight, because = said
                whole = synonym.kind == SynonymKind.WHOLE_WORD
                yield EntryText(entry, synonym.text, weight, because.format(synonym.text), whole)
        same = (synonym.text for synonym in synonyms if synonym.kind == SynonymKind.SAME)
        above = (row.group.name, row.group.family.name, *(c.name for c in row.classes.all()))
        texts = (row.name, row.idea, row.trade, row.not_when, row.note, *same, *above)
        yield EntryText(entry, " . ".join(texts), 10, "found in its description")


def _names() -> Iterator[EntryText]:
    with connection.cursor() as cursor:
        cursor.execute(NAMES)
        rows: list[tuple[EntryKind, str, int]] = cursor.fetchall()
    address = reverse("publications")
    for kind, name, n in rows:
        entry = Entry(kind, name, name, f"{address}?{_these_words(name)}", publications=n)
        yield EntryText(
            entry, _in_either_order(name) if kind == "author" else name, 50, "found by its name"
        )


def _these_words(name: str) -> str:
    quoted = '"' + name.replace('"', " ")[: MOST_CHARACTERS - 2] + '"'
    return urlencode({"q": quoted})


def _in_either_order(name: str) -> str:
    """Return the author by family name first, by given name first, and by initial."""
    family, _, given = (part.strip() for part in name.partition(","))
    return f"{family} {given} {family} {given[0]} {family}" if given else name


def _studies(strategies: Mapping[str, tuple[Strategy, Entry]]) -> Iterator[EntryText]:
    """Yield the case studies, by what they say and by the publications that they examine."""
    examined = {
        publication.key: publication
        for publication in Publication.objects.filter(case_studies__isnull=False)
    }
    about = {
        study.url: [examined[key] for key in study.subjects]
        for study in studies_about("publication", examined)
    }
    for study in studies_about("strategy", strategies):
        entry = Entry("study", study.slug, study.title, study.url, study.summary)
        yield EntryText(entry, study.title, 60, "found by its title")
        names = [strategies[slug][1].name for slug in study.subjects]
        for one in about.get(study.url, ()):
            names += [one.artifact_name, one.title, *map(_in_either_order, one.authors)]
        text = " . ".join((study.title, study.summary, *names))
        yield EntryText(entry, text, 10, "found in its description")
