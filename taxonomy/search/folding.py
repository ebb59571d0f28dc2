"""Texts as search compares them. The database folds: what is stored and what is asked are one."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db import connection

FOLD = """
    SELECT search_words(t), search_parted(t), search_joined(t)
    FROM unnest(%s::text[]) WITH ORDINALITY AS given (t, n) ORDER BY n
"""
# What the dictionary leaves out, such as "the", has no stem.
STEM = """
    SELECT w, coalesce((tsvector_to_array(to_tsvector('english', w)))[1], '')
    FROM unnest(%s::text[]) AS given (w)
"""


@dataclass(frozen=True)
class Folded:
    """The words of a text; the parts of those written as one; those with a hyphen, joined."""

    words: tuple[str, ...]
    parted: tuple[str, ...]
    joined: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return all the words as one: texts that differ in hyphens and spaces have the same."""
        return "".join(self.words)

    @property
    def all_words(self) -> tuple[str, ...]:
        """Return the words, their parts and their joined forms, in the order of what is stored."""
        return (*self.words, *self.parted, *self.joined)


def fold(texts: Collection[str]) -> list[Folded]:
    """Return each of the texts folded, in one query."""
    if not texts:
        return []
    with connection.cursor() as cursor:
        cursor.execute(FOLD, [list(texts)])
        return [Folded(*(tuple(text.split()) for text in row)) for row in cursor.fetchall()]


def stems(words: Iterable[str]) -> dict[str, str]:
    """Return the stem of each of the folded words, in one query; "" for a word such as "the"."""
    with connection.cursor() as cursor:
        cursor.execute(STEM, [sorted(set(words))])
        return dict(cursor.fetchall())
