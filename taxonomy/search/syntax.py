"""How a search is written: quotes, OR, and a hyphen before what must not be there."""

import re
from dataclasses import dataclass

MOST_CHARACTERS = 200
PIECE = re.compile(r'(?P<minus>-?)"(?P<quoted>[^"]*)"?|(?P<word>[^\s"]+)')
QUOTES = str.maketrans(dict.fromkeys("“”„‟«»″＂", '"'))


@dataclass(frozen=True)
class Piece:
    """A word, or the words inside quotes, as typed."""

    text: str
    quoted: bool = False
    excluded: bool = False

    @property
    def is_plain(self) -> bool:
        return not (self.quoted or self.excluded)


def branches(text: str) -> list[list[Piece]]:
    """Return the alternatives that OR parts, each as its pieces in order."""
    found: list[list[Piece]] = [[]]
    for piece in PIECE.finditer(text.translate(QUOTES)):
        word, quoted = piece["word"], piece["quoted"]
        if word and word.upper() == "OR":
            found.append([])
        elif word:
            plain = word.lstrip("-")
            found[-1].append(Piece(plain, excluded=plain != word))
        else:
            found[-1].append(Piece(quoted, quoted=True, excluded=bool(piece["minus"])))
    return found
