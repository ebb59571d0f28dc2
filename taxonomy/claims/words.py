"""How counts and lists are said in sentences, for many, one and none."""

from collections.abc import Sequence

# fmt: off
WORDS = [
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
]
# fmt: on


def in_words(count: int) -> str:
    """Return a count as a sentence says it: words up to twenty, digits above, "no" for none."""
    return WORDS[count] if count < len(WORDS) else f"{count:,}"


def listed(parts: Sequence[str]) -> str:
    """Return the parts as a sentence lists them: "a", "a and b", "a, b and c"."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def capital(text: str) -> str:
    """Return the text with its first letter large and all others as they are."""
    return text[:1].upper() + text[1:]
