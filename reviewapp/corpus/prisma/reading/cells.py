"""What stands in an `n` cell: a number, or a list as in "Scopus, 120; IEEE Xplore, 85".

Numbers are whole: 1200, and in groups of three 1,200 or 1 200 or 1'200; 1200.0 is 1200, as
programs write it that know only decimal numbers. 1.200 can be either: it is 1,200 where the file
is separated by semicolons, as it is in countries that write so, and is refused elsewhere.

In a list the number stands behind the last comma or colon of an item, or as (n = 4). An item
without a number must have no digits, and no number may stand inside a name, so that none is lost;
before "xxx" any name may stand alone. Line breaks separate items too, and so do the wide signs of
Chinese and Japanese.
"""

import re
import unicodedata
from dataclasses import dataclass, field

from reviewapp.corpus.prisma.flow import MAX_N, Entry, Origin
from reviewapp.corpus.prisma.reading.remarks import short

_UNKNOWN = {"na", "n/a", "nr", "not reported"}
_PLACEHOLDER = re.compile("x{2,}", re.IGNORECASE)
_PLACEHOLDER_LABEL = re.compile(
    "(?:database|register|reason|website|organisation) ?[0-9]+", re.IGNORECASE
)
_DIGITS = re.compile("[0-9]+")
_GROUPED = re.compile(r"[0-9]{1,3}(?P<sign>[, '’\u00a0\u202f\u2009])[0-9]{3}(?:(?P=sign)[0-9]{3})*")
_DOTTED = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+")
_POINT_ZERO = re.compile(r"([0-9]+)\.0+")
_COMMA_ZERO = re.compile(r"([0-9]+),0{1,2}")
_N_EQUALS = re.compile(r"[(\[]? ?(?<!\w)n ?= ?(?P<n>[^()\[\]=]+?) ?[)\]]?", re.IGNORECASE)
_N_EQUALS_LAST = re.compile(f"{_N_EQUALS.pattern}$", re.IGNORECASE)
_SEPARATOR = re.compile("[,:，：]")
_BETWEEN_ITEMS = re.compile("[;；\r\n]")
# A number before another comma, or as n = 4, which can only be that of an item of its own.
_INSIDE = re.compile(
    r"(?:[,，]|(?<![0-9])[:：]) ?(?P<n>[0-9]+(?:[ .'’,][0-9]{3})*) ?[,，]"
    r"|(?<!\w)n ?= ?(?P<m>[0-9]+)",
    re.IGNORECASE,
)
_LONGEST_NUMBER = 40  # characters, so that a long item is not read once for each of its commas
_FORMULA = re.compile(r"(?='*[=+\-@\t\r])")
_NEUTRALISED = re.compile(r"\A'(?='*[=+\-@\t\r])")


@dataclass
class CellReader:
    """Reads the cells of a row; `notices` gathers what was not taken literally.

    `european` is for files separated by semicolons, where 1.200 is 1,200 and 1200,0 is 1200.
    """

    european: bool = False
    notices: list[str] = field(default_factory=list)

    def entry(self, text: str, origin: Origin, note: str, *, listed: bool) -> Entry:
        """The content of a cell; ValueError says what is wrong and how to write it."""
        parts = [plain(part) for part in _BETWEEN_ITEMS.split(text)]
        text = plain(text)
        if self._is_unknown(text):
            return Entry()
        if not listed or self._is_number(text):
            return Entry(self._count(text), origin=origin, note=note)
        items = self._items(parts)
        return Entry(items=items, origin=origin, note=note) if items else Entry()

    def _is_unknown(self, text: str) -> bool:
        if _PLACEHOLDER.fullmatch(text):
            self.notices.append(f"“{text}” is taken as not filled in")
            return True
        return not text or text.casefold() in _UNKNOWN

    def _items(self, parts: list[str]) -> tuple[tuple[str, int | None], ...]:
        if not any(parts):
            raise ValueError(f"“{short('; '.join(parts))}” has no items")
        read = [self._item(part) for part in parts if part]
        items = tuple(item for item in read if not _is_left_in_place(*item))
        if len(items) < len(read):
            left = short(", ".join(label for label, n in read if _is_left_in_place(label, n)))
            self.notices.append(f"“{left}” of the template is taken as not filled in")
        if cut := next((label for label, _ in items if "," in label), ""):
            self.notices.append(
                f"“{short(cut)}” is read up to its last comma; the PRISMA2020 package ends it at"
                " the first"
            )
        return items

    def _item(self, part: str) -> tuple[str, int | None]:
        label, number = self._split(part)
        if not label:
            raise ValueError(f"“{short(part)}” has no label")
        if number is None and not _is_left_in_place(label, None):
            _check_no_digits(label, part)
        _check_nothing_inside(label, part)
        known = number is not None and not _says_unknown(number)
        return _NEUTRALISED.sub("", label), self._count(number or "") if known else None

    def _split(self, part: str) -> tuple[str, str | None]:
        """The label and the number of an item, None where nothing stands for it."""
        tail = max(0, len(part) - _LONGEST_NUMBER)
        for found in _SEPARATOR.finditer(part, tail):
            number = part[found.end() :].strip()
            if self._is_number(number) or _says_unknown(number):
                return part[: found.start()].strip(), number
        in_words = _N_EQUALS_LAST.search(part, tail)
        if in_words and self._is_number(in_words["n"]):
            return part[: in_words.start()].rstrip(" ,:，："), in_words["n"]
        last = _SEPARATOR.split(part)[-1].strip()
        if last != part and re.match("[+−-]?[0-9]", last):
            self._count(last)
        return part.rstrip(" ,:，："), None

    def _is_number(self, text: str) -> bool:
        return _number(text, european=self.european) is not None

    def _count(self, text: str) -> int:
        digits = _number(text, european=self.european)
        if digits is None:
            raise ValueError(_why_no_number(text))
        if len(digits.lstrip("0")) > len(str(MAX_N)):
            raise ValueError(f"“{short(text)}” is more than {MAX_N:,}")
        n = int(digits)
        if self.european and re.search("[.,]", text):
            self.notices.append(f"“{text}” is read as {n}")
        return n


def written(entry: Entry) -> str:
    """The cell that is read as this entry; a semicolon inside a label becomes " / "."""
    if entry.items:
        return "; ".join(
            f"{_written_label(label)}, {'xxx' if n is None else n}" for label, n in entry.items
        )
    return "NA" if entry.n is None else str(entry.n)


def without_formula(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would run it as a formula."""
    return "'" + text if _FORMULA.match(text) else text


def with_formula(text: str) -> str:
    """The text that `without_formula` got."""
    return _NEUTRALISED.sub("", text)


def plain(text: str) -> str:
    """The text without control characters, its blanks as single spaces."""
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)
    return " ".join(plain.split())


def _number(text: str, *, european: bool) -> str | None:
    """The digits of the whole number that a text stands for, None for any other text."""
    if found := _N_EQUALS.fullmatch(text):
        text = found["n"]
    if _DIGITS.fullmatch(text) or _GROUPED.fullmatch(text):
        return re.sub("[^0-9]", "", text)
    if _DOTTED.fullmatch(text):
        return text.replace(".", "") if european or text.count(".") > 1 else None
    found = _POINT_ZERO.fullmatch(text) or (_COMMA_ZERO.fullmatch(text) if european else None)
    return found[1] if found else None


def _why_no_number(text: str) -> str:
    if _DOTTED.fullmatch(text):
        thousands = text.replace(".", "")
        return f"“{short(text)}” can be {text[: text.index('.')]} or {thousands}: write {thousands}"
    return f"“{short(text)}” is not a whole number of 0 or more, as in 1200 or 1,200"


def _is_left_in_place(label: str, n: int | None) -> bool:
    return n is None and bool(_PLACEHOLDER_LABEL.fullmatch(label))


def _says_unknown(text: str) -> bool:
    return bool(_PLACEHOLDER.fullmatch(text)) or text.casefold() in _UNKNOWN


def _check_no_digits(label: str, part: str) -> None:
    if re.search("[0-9]", label):
        raise ValueError(
            f"“{short(part)}” has no number behind a comma: write “Reason, 4”,"
            f" or “{short(label)}, xxx” where the number is not known"
        )


def _check_nothing_inside(label: str, part: str) -> None:
    if found := _INSIDE.search(f"{label},"):
        raise ValueError(
            f"“{found['n'] or found['m']}” stands inside “{short(part)}” and would be lost: put a"
            " semicolon between items"
        )


def _written_label(label: str) -> str:
    """A label without what separates items; what would look like a number of one, neither."""
    one_line = plain(_BETWEEN_ITEMS.sub(" / ", label))
    if _INSIDE.search(f"{one_line},"):
        one_line = plain(re.sub("[,:，：=]", " / ", one_line))
    return without_formula(one_line)
