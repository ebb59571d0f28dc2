"""Misspelt words: one that no record holds is taken for the nearest that some record does."""

from collections.abc import Sequence

from django.db import connection
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from taxonomy.search.index import lexemes
from taxonomy.search.known import SHORTEST_CORRECTED, Known
from taxonomy.search.query import Phrase, Step
from taxonomy.search.wording import Wording

MOST_CORRECTED = 8  # words of one search
NEAREST = 80  # of 100, for a whole text
HOLDERS = "(SELECT count(*) FROM corpus_publication WHERE search @@ %s::tsquery)"


def corrections(wording: Wording, memory: Known) -> dict[str, str]:
    """Return, for each word that nothing holds, the nearest known word if one is near."""
    doubtful = [word for word in wording.words if _is_doubtful(word, wording, memory)]
    doubtful = list(dict.fromkeys(doubtful))[:MOST_CORRECTED]
    nearest = {word: _nearest(word, memory) for word in _held_by_none(doubtful, wording)}
    return {word: other for word, other in nearest.items() if other}


def _is_doubtful(word: str, wording: Wording, memory: Known) -> bool:
    if not word.isalpha() or len(word) < SHORTEST_CORRECTED or word in memory.words:
        return False
    if word == wording.unfinished and any(known.startswith(word) for known in memory.words):
        return False
    return not any(memory.entries.index.holds(lexeme) for lexeme in lexemes(word, wording.stem))


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
