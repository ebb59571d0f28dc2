"""The characters and the separator of a CSV file, which differ with the program and its country.

A file without a mark of its encoding is taken for UTF-8, for UTF-16 where every other byte is
zero, and else for Windows-1252, which Excel writes in western Europe and America.
"""

import codecs
import csv
import io
import re
from collections.abc import Collection
from typing import NamedTuple

from reviewapp.corpus.prisma.reading.remarks import PrismaCsvError, Remark

MAX_BYTES = 64 * 1024
# Those that Excel writes as "CSV", by the names that Python has for them.
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "cp1252": "Western European (Windows-1252)",
    "mac-roman": "Western European (Mac)",
    "cp1250": "Central European (Windows-1250)",
    "cp1251": "Cyrillic (Windows-1251)",
    "cp1253": "Greek (Windows-1253)",
    "cp1254": "Turkish (Windows-1254)",
    "cp1255": "Hebrew (Windows-1255)",
    "cp1256": "Arabic (Windows-1256)",
    "gb18030": "Chinese (GB 18030)",
    "big5": "Chinese (Big5)",
    "cp932": "Japanese (Shift JIS)",
    "cp949": "Korean (Windows-949)",
}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NAMED_SEPARATOR = re.compile(r'"?sep=([,;\t])"?')  # Excel's own first line


class DecodedFile(NamedTuple):
    """A file as text, how its cells are separated, and what was assumed to find out.

    `header` is the number of the line that names the columns.
    """

    text: str
    separator: str = ","
    header: int = 1
    notices: tuple[Remark, ...] = ()


def decode(data: bytes | str, columns: Collection[str], encoding: str = "") -> DecodedFile:
    """The text of a file and how it is separated, found by where its columns are named.

    `encoding` is one of ENCODINGS, or empty to find out. PrismaCsvError for more than MAX_BYTES,
    and for bytes that are not text.
    """
    text, notices = (data, []) if isinstance(data, str) else _characters(data, encoding)
    text = text.removeprefix("\ufeff")
    _check_text(text)
    named = ""
    for number, line in enumerate(lines(text), start=1):
        if found := _NAMED_SEPARATOR.fullmatch(line.strip()):
            named = found[1]
        elif line.strip(" ,;\t\r\n"):
            separator = named or _separator(line, columns)
            if separator != ",":
                notices.append(Remark(f"It is read as separated by {SEPARATORS[separator]}."))
            return DecodedFile(text, separator, number, tuple(notices))
    return DecodedFile(text)


def lines(text: str) -> list[str]:
    """The lines of a text as a CSV file counts them, each with its end."""
    return list(io.StringIO(text, newline=""))


def _characters(data: bytes, encoding: str) -> tuple[str, list[Remark]]:
    check_size(data)
    if encoding:
        return _strictly(data, encoding), []
    found = _by_mark(data) or _by_zeros(data)
    if found:
        notice = Remark(f"It is read as {found.removesuffix('-le').removesuffix('-be').upper()}.")
        return _strictly(data, found), [] if found == "utf-8-sig" else [notice]
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        text = _strictly(data, "cp1252")
        where = error.object[: error.start].count(b"\n") + 1
        return text, [
            Remark(
                "It is not UTF-8 and read as Western European (Windows-1252): look at the"
                " accents here, and choose another encoding if they are wrong.",
                where,
            )
        ]


def _by_mark(data: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if data.startswith(mark)), "")


def _by_zeros(data: bytes) -> str:
    """UTF-16 without a mark: of Latin letters every other byte is zero."""
    half = len(data) // 2
    for name, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if half and zeros.count(0) > half * 0.2:
            return name
    return ""


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        # Of two bytes for a character, a line's end has one too.
        line = data[: error.start].count(b"\n") + 1
        name = ENCODINGS.get(encoding, encoding.upper())
        byte = data[error.start]
        raise PrismaCsvError(Remark(f"byte 0x{byte:02x} is not text in {name}", line)) from None


def _check_text(text: str) -> None:
    try:
        check_size(text.encode())
    except UnicodeEncodeError as error:
        line = error.object[: error.start].count("\n") + 1
        raise PrismaCsvError(Remark("half of a character (surrogate)", line)) from None


def check_size(data: bytes) -> None:
    """PrismaCsvError for more than MAX_BYTES."""
    if len(data) > MAX_BYTES:
        raise PrismaCsvError(
            Remark(f"the file has {len(data):,} bytes as UTF-8, more than {MAX_BYTES:,}")
        )


def _separator(header: str, columns: Collection[str]) -> str:
    """The sign between most of the known columns; a comma where none is known."""
    return max(SEPARATORS, key=lambda sign: len(set(_cells(header, sign)) & set(columns)))


def _cells(line: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []
    return [cell.strip().casefold() for cell in cells]
