"""Texts in memory, to be searched as PostgreSQL searches its own."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from taxonomy.search.folding import Folded
from taxonomy.search.query import Clause, Phrase, Query, Step

LONGEST_NAME = 12  # words


def lexemes(word: str, stem: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a word is stored as: itself in names, its stem in texts."""
    return tuple(dict.fromkeys(filter(None, (word, stem[word]))))


@dataclass(frozen=True)
class Places:
    """A text's lexemes with their places, and the key that equal texts share."""

    at: Mapping[str, frozenset[int]]
    key: str


def places(folded: Folded, stem: Mapping[str, str]) -> Places:
    """Return where in the text each of its lexemes stands."""
    at: dict[str, set[int]] = defaultdict(set)
    is_name = len(folded.words) <= LONGEST_NAME  # in which "He" is somebody
    for place, word in enumerate(folded.all_words):
        if stem[word] or is_name:
            for lexeme in lexemes(word, stem):
                at[lexeme].add(place)
    return Places({lexeme: frozenset(where) for lexeme, where in at.items()}, folded.key)


class Index:
    """Texts by their lexemes; each is known by its number."""

    def __init__(self, texts: Sequence[Places], whole_words: Collection[int] = ()) -> None:
        """Those whose number is in `whole_words` are not found by the beginning of a word."""
        self.texts = texts
        self._whole_words = whole_words
        holding: dict[str, set[int]] = defaultdict(set)
        for number, text in enumerate(texts):
            for lexeme in text.at:
                holding[lexeme].add(number)
        self._holding = dict(holding)
        self._lexemes = sorted(holding)

    def holds(self, lexeme: str) -> bool:
        """Return whether any text has the lexeme."""
        return lexeme in self._holding

    def with_clause(self, clause: Clause, *, literally: bool) -> set[int]:
        """Return the texts in which the clause, were it not excluded, is met."""
        words = [_union(map(self.with_phrase, forms)) for forms in clause.words]
        found = set.intersection(*words) if words else set()
        if not literally:
            found |= _union(self.with_phrase(wider.phrase) for wider in clause.wider)
        return found

    def with_phrase(self, phrase: Phrase) -> set[int]:
        """Return the texts that hold the phrase."""
        found = set.intersection(*map(self._with_step, phrase.steps))
        if len(phrase.steps) == 1:
            return found
        return {number for number in found if self._in_order(number, phrase)}

    def because(self, query: Query, number: int) -> str:
        """Return why a text is found that does not hold what was typed; "" where none is known."""
        found = (w.because for w in query.wider if number in self.with_phrase(w.phrase))
        return next(found, "")

    def _with_step(self, step: Step) -> set[int]:
        found = _union(self._holding.get(lexeme, set()) for lexeme in step.lexemes)
        if step.prefix:
            found |= _union(map(self._begun, step.lexemes)) - {*self._whole_words}
        return found

    def _begun(self, beginning: str) -> set[int]:
        found: set[int] = set()
        for place in range(bisect_left(self._lexemes, beginning), len(self._lexemes)):
            if not self._lexemes[place].startswith(beginning):
                break
            found |= self._holding[self._lexemes[place]]
        return found

    def _in_order(self, number: int, phrase: Phrase) -> bool:
        at = self.texts[number].at
        first, *others = [
            _union({*at.get(lexeme, ())} for lexeme in step.lexemes) for step in phrase.steps
        ]
        for step, here in zip(phrase.steps[1:], others, strict=True):
            first = here & {place + step.distance for place in first}
        return bool(first)


def _union(some: Iterable[set[int]]) -> set[int]:
    return set(chain.from_iterable(some))
