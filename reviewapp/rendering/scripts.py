"""Characters that no font of this machine can draw: found by drawing them, and named.

What a font lacks is drawn as an empty box, the same for each character, without a word.
"""

import time
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

EACH, SECONDS = 200, 3  # characters of each script that are looked at, and how long at most
_NOWHERE = "\U0010fffd"  # for private use, so that no font has it
_CJK = "fonts-noto-cjk"
_CORE = "fonts-noto-core"


class Script(NamedTuple):
    """The name of a script, and the Debian package of a font for it; empty where there is none."""

    name: str
    package: str


_BY_FIRST_WORD = {
    **dict.fromkeys(("CJK", "IDEOGRAPHIC", "KANGXI"), Script("Chinese characters", _CJK)),
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "HALFWIDTH"), Script("Japanese", _CJK)),
    "HANGUL": Script("Korean", _CJK),
    "BOPOMOFO": Script("Bopomofo", _CJK),
    "FULLWIDTH": Script("full-width characters", _CJK),
}


def script_of(character: str) -> Script:
    """The script of a character."""
    first_word = unicodedata.name(character, "").partition(" ")[0]
    if not first_word:
        return Script("characters for private use", "")
    if found := _BY_FIRST_WORD.get(first_word):
        return found
    if unicodedata.category(character)[0] in "LMN":
        return Script(first_word.title(), _CORE)
    return Script("symbols", "fonts-noto-color-emoji" if character > "\U0001f000" else _CORE)


def undrawable(text: str, draw: Callable[[str], bytes]) -> str:
    """One character of each script in the text that `draw` draws as an empty box.

    Of very many different characters not all are tried.
    """
    empty = draw(_NOWHERE)
    missing: dict[Script, str] = {}
    tried: dict[Script, int] = {}
    end = time.monotonic() + SECONDS
    for character in dict.fromkeys(text):
        if character <= "\xff" or unicodedata.category(character) in {"Zs", "Cc", "Cf", "Zl", "Zp"}:
            continue
        script = script_of(character)
        tried[script] = tried.get(script, 0) + 1
        if script in missing or tried[script] > EACH:
            continue
        if draw(character) == empty:
            missing[script] = character
        if time.monotonic() > end:
            break
    return "".join(missing.values())


def sentence(characters: Iterable[str]) -> str:
    """What is missing, and what to install."""
    scripts = [(script_of(character), character) for character in characters]
    names = " and ".join(f"{script.name} (“{character}”)" for script, character in scripts)
    packages = " ".join(dict.fromkeys(script.package for script, _ in scripts if script.package))
    install = f" install the Debian package {packages} on the server, or" if packages else ""
    return f"No font here can draw {names}:{install} ask for the SVG, which keeps them as text."
