"""Text as LaTeX in ASCII, in a form that programs that know nothing of Unicode can cut."""

import re
import unicodedata

from reviewapp.corpus.citations.facts import one_line

# Braces are written as commands because BibTeX counts every brace, escaped or not.
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\ensuremath{\lbrace}",
        "}": r"\ensuremath{\rbrace}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "%&$#_"},
    }
)
# TeX reads these as one sign: -- a dash, '' and `` quotation marks, ?` and !` Spanish marks.
LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=[`?!])(?=`)")
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")

ACCENTS = {
    "GRAVE ACCENT": "`",
    "ACUTE ACCENT": "'",
    "CIRCUMFLEX ACCENT": "^",
    "TILDE": "~",
    "DIAERESIS": '"',
    "MACRON": "=",
    "DOT ABOVE": ".",
    "BREVE": "u",
    "CARON": "v",
    "DOUBLE ACUTE ACCENT": "H",
    "RING ABOVE": "r",
    "CEDILLA": "c",
    "OGONEK": "k",
    "DOT BELOW": "d",
    "MACRON BELOW": "b",
}
MARKS = {unicodedata.lookup(f"COMBINING {name}"): command for name, command in ACCENTS.items()}


def _each(characters: str, commands: str) -> dict[str, str]:
    return dict(zip(characters, commands.split(), strict=True))


# Letters that are no base with a mark, and the signs that titles have.
COMMANDS = {
    **_each("øØłŁıȷßæÆœŒ", "o O l L i j ss ae AE oe OE"),
    **_each("þÞðÐđĐ", "th TH dh DH dj DJ"),
    **_each("–—…", "textendash textemdash textellipsis"),
    **_each("‘’“”", "textquoteleft textquoteright textquotedblleft textquotedblright"),
    **_each("®°±×÷€", "textregistered textdegree textpm texttimes textdiv texteuro"),
}  # fmt: skip
MATHS = {
    **_each("αβγδθκλμπρστωΔΣΩ", r"alpha beta gamma delta theta kappa lambda mu pi rho sigma tau"
                               r" omega Delta Sigma Omega"),
    **_each("≤≥≠≈→∞", "leq geq neq approx rightarrow infty"),
}  # fmt: skip
GROUPS = {
    **{character: rf"{{\{command}}}" for character, command in COMMANDS.items()},
    **{character: rf"{{\ensuremath{{\{command}}}}}" for character, command in MATHS.items()},
}


def latex(text: str) -> str:
    r"""Return one line of LaTeX that prints the text.

    An accented letter is one group, {\'I}, which every style of BibTeX takes for one letter, even
    where it abbreviates names. Letters that LaTeX has no command for (Chinese, Cyrillic) stay as
    they are: an engine with a font for them prints them, and a made-up spelling would be wrong.
    """
    escaped = unicodedata.normalize("NFC", one_line(text)).translate(SPECIAL)
    return BEYOND_ASCII.sub(lambda found: _group(found[0]), LIGATURE.sub("{}", escaped))


def uncut(name: str) -> str:
    r"""Return the LaTeX of a part of a name with each letter that has no command as a group too.

    BibTeX cuts a name after its first byte; a group that begins with a command it keeps whole.
    Of the commands that change nothing, most readers know this one.
    """
    return BEYOND_ASCII.sub(lambda found: rf"{{\textrm{{{found[0]}}}}}", latex(name))


def _group(character: str) -> str:
    """Return the group that prints a character beyond ASCII, or the character itself."""
    decomposed = unicodedata.normalize("NFD", character)
    base, marks = decomposed[0], decomposed[1:]
    if not marks or not base.isalpha() or not base.isascii() or not MARKS.keys() >= set(marks):
        return GROUPS.get(character, character)
    accented = base
    for mark in marks:
        plain = accented == base and not MARKS[mark].isalpha()
        accented = rf"\{MARKS[mark]}{accented if plain else f'{{{accented}}}'}"
    return f"{{{accented}}}"
