"""How counts are said with their nouns, for many, one and none."""

from taxonomy.claims.words import capital, in_words


def counted(n: int, noun: str, verb: str = "", plural_verb: str = "") -> str:
    """Return a count with its noun and verb: "one claim names", "three claims name"."""
    noun = noun if n == 1 else f"{noun}s"
    return " ".join(filter(None, (in_words(n), noun, verb if n == 1 else plural_verb)))


def sentence(text: str) -> str:
    """Return the text with its first letter large, and a full stop."""
    return f"{capital(text)}."
