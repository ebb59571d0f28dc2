"""Short records that are searched in memory: strategies, authors, hardware, models, studies."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from taxonomy.search.memory.index import Index, Places
from taxonomy.search.query import Query

EntryKind = Literal["strategy", "author", "hardware", "model", "study"]
EXACT, LITERAL = (
    100,
    10,
)  # what the whole text, and what was typed, count beside a text's own weight


@dataclass(frozen=True)
class Entry:
    """Something with a name and a page."""

    kind: EntryKind
    key: str  # the slug of a strategy or a study; of others the name
    name: str
    url: str
    text: str = ""
    publications: int = 0


@dataclass(frozen=True)
class EntryText:
    """One of the texts by which an entry is found, how much it counts, and what is said of it."""

    entry: Entry
    text: str
    weight: int
    because: str
    whole_word: bool = False


@dataclass(frozen=True)
class FoundEntry:
    """An entry, why it was found, and how well it fits."""

    entry: Entry
    because: str
    score: int


class Entries:
    """Entries, each to be found by any of its texts."""

    def __init__(self, texts: Iterable[tuple[EntryText, Places]]) -> None:
        given = list(texts)
        self._texts = [text for text, _ in given]
        whole = {number for number, text in enumerate(self._texts) if text.whole_word}
        self.index = Index([places for _, places in given], whole)

    def found(self, query: Query, keys: Iterable[str]) -> list[FoundEntry]:
        """Return what meets the query, best first; `keys` are those of the whole query."""
        typed, exact = self._meeting(query, literally=True), {*keys}
        best: dict[Entry, FoundEntry] = {}
        for number in self._meeting(query, literally=False):
            text, score = self._texts[number], self._texts[number].weight
            if self.index.texts[number].key in exact:
                score += EXACT
            elif number in typed:
                score += LITERAL
            if text.entry not in best or best[text.entry].score < score:
                said = text.because if number in typed else self.index.because(query, number)
                best[text.entry] = FoundEntry(text.entry, said or text.because, score)
        return sorted(best.values(), key=_order)

    def _meeting(self, query: Query, *, literally: bool) -> set[int]:
        met: set[int] = set()
        for branch in query.branches:
            wanted = [
                self.index.with_clause(clause, literally=literally)
                for clause in branch
                if not clause.excluded
            ]
            if wanted:
                met |= set.intersection(*wanted)
                for clause in branch:
                    if clause.excluded:
                        met -= self._all_of(self.index.with_clause(clause, literally=True))
        return met

    def _all_of(self, numbers: set[int]) -> set[int]:
        """Return all the texts of the entries that have these."""
        entries = {self._texts[number].entry for number in numbers}
        return {number for number, text in enumerate(self._texts) if text.entry in entries}


def _order(found: FoundEntry) -> tuple[int, int, int, str]:
    entry = found.entry
    return -found.score, -entry.publications, len(entry.name), entry.name.casefold()
