"""How counts are said in sentences, for many, one and none."""

from collections.abc import Sequence

# fmt: off
SMALL = [
    "no", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]
# fmt: on


def spelled(n: int) -> str:
    """Return a count as a sentence says it: words up to twenty, digits above, "no" for none."""
    return SMALL[n] if n < len(SMALL) else f"{n:,}"


def counted(n: int, noun: str, verb: str = "", plural_verb: str = "") -> str:
    """Return a count with its noun and verb: "one claim names", "three claims name"."""
    noun = noun if n == 1 else f"{noun}s"
    return " ".join(filter(None, (spelled(n), noun, verb if n == 1 else plural_verb)))


def sentence(text: str) -> str:
    """Return the text with its first letter large, and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def listed(parts: Sequence[str]) -> str:
    """Return the parts as a sentence lists them: "a, b and c"."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
