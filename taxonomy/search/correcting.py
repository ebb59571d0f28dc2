"""Misspelt words: one that no record holds is taken for the nearest that some record does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db import connection
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from taxonomy.search.memory.index import lexemes
from taxonomy.search.memory.known import SHORTEST_CORRECTED, Known
from taxonomy.search.query import Phrase, Step
from taxonomy.search.wording import Wording

SHORTEST_SURE = 5  # a shorter word that is not known may be an acronym
LONGEST_ENDING = 3
MOST_CORRECTED = 8  # words of one search
NEAREST = 80  # of 100, for a whole text
HOLDERS = "(SELECT count(*) FROM corpus_publication WHERE search @@ %s::tsquery)"


@dataclass(frozen=True)
class Corrections:
    """Words with the known words that they are taken for, or may have been meant to be."""

    sure: Mapping[str, str] = field(default_factory=dict)
    perhaps: Mapping[str, str] = field(default_factory=dict)


def corrections(wording: Wording, memory: Known) -> Corrections:
    """Return what is wrong: surely where no record holds a long word in any of its forms."""
    doubtful = [word for word in wording.words if _is_doubtful(word, wording, memory)]
    doubtful = list(dict.fromkeys(doubtful))[:MOST_CORRECTED]
    near = {word: _nearest(word, memory) for word in doubtful}
    near = {word: other for word, other in near.items() if other}
    unheld = {*_held_by_none(list(near), wording)}
    sure = {word for word in unheld if len(word) >= SHORTEST_SURE}
    # "distilation" is found by its stem, that of "distillation", and misspelt all the same.
    perhaps = {
        word
        for word, other in near.items()
        if word in unheld or (memory.stem.get(other) == wording.stem[word])
    }
    return Corrections(
        {word: near[word] for word in sure},
        {word: near[word] for word in perhaps - sure if not _is_ending(word, near[word])},
    )


def _is_doubtful(word: str, wording: Wording, memory: Known) -> bool:
    if not word.isalpha() or len(word) < SHORTEST_CORRECTED or word in memory.words:
        return False
    return word != wording.unfinished or not any(one.startswith(word) for one in memory.words)


def _is_ending(word: str, other: str) -> bool:
    """Return whether they differ in their endings only, as "pruner" and "pruned" do."""
    beginning = len(word) - LONGEST_ENDING
    return word[:beginning] == other[:beginning]


def _held_by_none(words: Sequence[str], wording: Wording) -> list[str]:
    """Return the words that stand in no publication, nor in any of its claims."""
    if not words:
        return []
    asked = [str(Phrase((Step(lexemes(word, wording.stem)),))) for word in words]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join([HOLDERS] * len(words))}", asked)
        held = cursor.fetchone()
    return [word for word, n in zip(words, held, strict=True) if not n]


def _nearest(word: str, memory: Known) -> str:
    """Return the known word that takes the fewest typing errors; "" where all are too far."""
    most = 1 if len(word) < 6 else 2 if len(word) < 12 else 3
    found = process.extract(
        word, memory.spellings, scorer=OSA.distance, score_cutoff=most, limit=None
    )
    ranked = [(n, other[0] != word[0], -memory.words[other], other) for other, n, _ in found]
    return min(ranked)[-1] if ranked else ""


def nearest_term(key: str, memory: Known) -> str:
    """Return the known term of several words that is most like the whole text; "" if none is."""
    found = process.extractOne(key, memory.shown.keys(), scorer=fuzz.ratio, score_cutoff=NEAREST)
    return memory.shown[found[0]] if found and found[0] != key else ""
