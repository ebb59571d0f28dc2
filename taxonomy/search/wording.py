"""How a search is worded: its words in every form in which records may hold them."""

from collections.abc import Iterator, Mapping
from itertools import chain, groupby

from taxonomy.choices import SynonymKind
from taxonomy.search.folding import Folded, fold, stems
from taxonomy.search.memory.index import lexemes
from taxonomy.search.memory.known import Known, Term, keys, phrase
from taxonomy.search.query import Clause, Phrase, Query, Step, Wider
from taxonomy.search.syntax import Piece, branches

LONGEST_TERM = 6  # words
MOST_JOINED = 3
SHORTEST_PART = 3
MOST_PARTS = 6
LONGEST_ACRONYM = 3
KINDS = {
    SynonymKind.SAME: "found as a synonym of “{}”: “{}”",
    SynonymKind.WHOLE_WORD: "found as a short form of “{}”: “{}”",
    SynonymKind.NARROWER: "found as a kind of “{}”: “{}”",
}


class Wording:
    """A text taken apart, with the stems of its words and of what they may be joined to."""

    def __init__(self, text: str, memory: Known) -> None:
        self._memory = memory
        self._branches = branches(text)
        pieces = list(dict.fromkeys(chain.from_iterable(self._branches)))
        folded = fold([piece.text for piece in pieces])
        self._folded = dict(zip(pieces, folded, strict=True))
        self._parts = dict(chain.from_iterable(map(_parts, folded)))
        # The number in "LLaMA-13B" is LLaMA's.
        compounds = (one.words for one in folded if len(one.words) > 1)
        self._attached = {word for word in chain.from_iterable(compounds) if word[0].isdigit()}
        self.words = [w for p in pieces if not p.excluded for w in self._folded[p].words]
        is_plain = len(self._branches) == 1 and all(piece.is_plain for piece in pieces)
        self.unfinished = self.words[-1] if is_plain and self.words else ""
        self.stem = stems(self._all_words())

    @property
    def keys(self) -> tuple[str, ...]:
        """Return what the text as a whole may be known by."""
        return tuple(dict.fromkeys(keys(tuple(self.words), self.stem))) if self.words else ()

    def corrected(self, words: Mapping[str, str]) -> str:
        """Return the text with these words replaced, each as the field writes it."""
        shown = {word: self._memory.shown.get(other, other) for word, other in words.items()}
        return " OR ".join(
            " ".join(_written(piece, self._folded[piece], shown) for piece in branch)
            for branch in self._branches
        )

    def query(self) -> tuple[Query, tuple[Term, ...]]:
        """Return what is searched for, and the terms of the field that the text names."""
        terms: list[Term] = []
        found = (tuple(self._clauses(branch, terms)) for branch in self._branches)
        query = Query(tuple(filter(None, found)))
        if not query and self.words:  # "the", or the author He: words without a stem
            alone = tuple((Phrase((Step((word,)),)),) for word in self.words)
            query = Query(((Clause(alone),),))
        return query, tuple(dict.fromkeys(terms))

    def _clauses(self, branch: list[Piece], terms: list[Term]) -> Iterator[Clause]:
        for part in self._runs(branch):
            if isinstance(part, tuple):
                yield from self._of_run(part, terms)
            elif exactly := self._exactly(self._folded[part]):
                yield Clause((exactly,), excluded=part.excluded)

    def _runs(self, branch: list[Piece]) -> Iterator[tuple[str, ...] | Piece]:
        """Yield the words between pieces that are quoted or excluded, and each of these."""
        for is_plain, pieces in groupby(branch, key=lambda piece: piece.is_plain):
            if is_plain:
                words = chain.from_iterable(self._folded[piece].words for piece in pieces)
                yield _without_et_al(tuple(words))
            else:
                yield from pieces

    def _of_run(self, words: tuple[str, ...], terms: list[Term]) -> Iterator[Clause]:
        """Yield a clause for each term of the field in these words, and for each word outside."""
        place = 0
        while place < len(words):
            length, named = self._term_at(words, place)
            terms += named
            typed = range(place, place + length)
            forms = tuple(filter(None, (self._forms(words, n, named) for n in typed)))
            wider = tuple(self._wider(named, words[place : place + length]))
            if forms or wider:
                yield Clause(forms or (tuple(w.phrase for w in wider),), wider)
            place += length

    def _term_at(self, words: tuple[str, ...], place: int) -> tuple[int, tuple[Term, ...]]:
        """Return the length of the longest term that begins here, and what it may be; else 1."""
        for length in range(min(LONGEST_TERM, len(words) - place), 0, -1):
            if named := self._memory.terms_of(words[place : place + length], self.stem):
                return length, named
        return 1, ()

    def _forms(
        self, words: tuple[str, ...], place: int, named: tuple[Term, ...]
    ) -> tuple[Phrase, ...]:
        """Return the forms of one word: itself, parted, joined to what stands beside it."""
        word = words[place]
        if not self.stem[word]:
            return ()
        joined = [self._one("".join(some)) for some in _windows(words, place, MOST_JOINED)]
        if len(words) > 1 and (_is_weak(word) or word in self._attached):
            beside = (phrase(some, self.stem) for some in _windows(words, place, 2))
            return tuple(dict.fromkeys(filter(None, (*beside, *joined))))
        parted = (phrase(parts, self.stem) for parts in self._parted(word))
        forms = [self._one(word), *filter(None, parted), *joined]
        if word == self.unfinished and place == len(words) - 1 and self._may_go_on(word, named):
            forms.append(Phrase((Step((word,), prefix=True),)))
        return tuple(dict.fromkeys(forms))

    def _may_go_on(self, word: str, named: tuple[Term, ...]) -> bool:
        """Return whether it may be the beginning of a word: a short one that is known is not."""
        return len(word) > LONGEST_ACRONYM or (
            len(word) > 1 and not named and word not in self._memory.words
        )

    def _parted(self, word: str) -> Iterator[tuple[str, ...]]:
        """Yield the parts of a word that was written as one, or that is two known words."""
        if parts := self._parts.get(word):
            yield parts
        for cut in range(SHORTEST_PART, len(word) - SHORTEST_PART + 1):
            halves = word[:cut], word[cut:]
            if all(half in self._memory.words for half in halves):
                yield halves

    def _wider(self, named: tuple[Term, ...], words: tuple[str, ...]) -> Iterator[Wider]:
        for term in named:
            said = KINDS[SynonymKind.SAME].format(" ".join(words), term.head)
            yield from self._said(term.head, said)
            for text, kind in term.texts:
                if kind != SynonymKind.SEE_ALSO:
                    yield from self._said(text, KINDS[kind].format(term.head, text))

    def _said(self, text: str, because: str) -> Iterator[Wider]:
        for one in self._memory.phrases[text]:
            yield Wider(one, text, because)

    def _exactly(self, folded: Folded) -> tuple[Phrase, ...]:
        """Return the words one after the other, as they are or written as one."""
        if not any(self.stem[word] for word in folded.words):
            return ()
        steps = phrase(folded.words, self.stem)
        parted = phrase(folded.parted, self.stem) if folded.parted else None
        return tuple(dict.fromkeys(filter(None, (steps, parted, self._one(folded.key)))))

    def _one(self, word: str) -> Phrase:
        return Phrase((Step(lexemes(word, self.stem)),))

    def _all_words(self) -> Iterator[str]:
        """Yield every word of which a form may be asked for."""
        for part in chain.from_iterable(map(self._runs, self._branches)):
            if isinstance(part, tuple):
                for place in range(len(part)):
                    yield from map("".join, _windows(part, place, MOST_JOINED))
        for folded in self._folded.values():
            yield from (*folded.words, *folded.parted, folded.key)
            for word in folded.words:
                yield from chain.from_iterable(self._parted(word))


def _parts(folded: Folded) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the words that were written as one, each with its parts, which come in order."""
    parts = folded.parted
    for word in folded.words:
        for start in range(len(parts)):
            for end in range(start + 2, min(start + MOST_PARTS, len(parts)) + 1):
                if "".join(parts[start:end]) == word:
                    yield word, parts[start:end]


def _windows(words: tuple[str, ...], place: int, most: int) -> Iterator[tuple[str, ...]]:
    """Yield the two to `most` neighbouring words among which that place is."""
    for length in range(2, most + 1):
        for start in range(max(0, place - length + 1), min(place, len(words) - length) + 1):
            yield words[start : start + length]


def _is_weak(word: str) -> bool:
    """Return whether a word says something only beside another: "3" in "GPT-3", "Q" in "Q-LoRA"."""
    return len(word) == 1 or (word.isdigit() and len(word) == 2)


def _without_et_al(words: tuple[str, ...]) -> tuple[str, ...]:
    pairs = [n for n in range(len(words)) if words[n : n + 2] == ("et", "al")]
    left_out = {*pairs, *(n + 1 for n in pairs)}
    return tuple(word for n, word in enumerate(words) if n not in left_out)


def _written(piece: Piece, folded: Folded, shown: dict[str, str]) -> str:
    if piece.is_plain and any(word in shown for word in folded.words):
        return "-".join(shown.get(word, word) for word in folded.words)
    text = f'"{piece.text}"' if piece.quoted else piece.text
    return f"-{text}" if piece.excluded else text
