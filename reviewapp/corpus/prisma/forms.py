"""What a person may ask of the PRISMA pages, and the file that they upload."""

from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError

from reviewapp.corpus.prisma.csv_file import COLUMNS, ParsedFlow, parse
from reviewapp.corpus.prisma.flow import VARIANTS
from reviewapp.corpus.prisma.reading.decoding import (
    ENCODINGS,
    MAX_BYTES,
    DecodedFile,
    decode,
    lines,
)
from reviewapp.corpus.prisma.reading.remarks import PrismaCsvError, Remark

LINES_SHOWN = 20  # of those with an error
CHARACTERS_SHOWN = 300  # of each


class PrismaOptions(forms.Form):
    """Which template to draw, what of it, and how large an image to make of it."""

    variant = forms.ChoiceField(
        required=False,
        label="Template",
        choices=[("", "As the numbers ask for"), *((s, v.title) for s, v in VARIANTS.items())],
        error_messages={"invalid_choice": "There is no template “%(value)s”."},
    )
    totals = forms.BooleanField(required=False, label="Total in the heading of reasons")
    screening_reasons = forms.BooleanField(
        required=False, label="Reasons at the title and abstract stage"
    )
    dpi = forms.FloatField(required=False, min_value=72, max_value=600)
    scale = forms.FloatField(required=False, min_value=0.5, max_value=4)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("dpi") and cleaned.get("scale"):
            raise ValidationError("Choose a dpi or a scale, not both.")
        return cleaned


class OwnDiagramOptions(PrismaOptions):
    """The choices for a diagram that is not the review's: it need not show what is missing."""

    unreported = forms.BooleanField(required=False, label="Show what is not reported")


class FaultyLine(NamedTuple):
    """A line of a file, and what is wrong with it."""

    number: int
    text: str
    problems: list[str]


class PrismaImport(OwnDiagramOptions):
    """A filled CSV of the PRISMA2020 package, as a file or as text."""

    file = forms.FileField(required=False, label="CSV file", max_length=200)
    encoding = forms.ChoiceField(
        required=False, label="Encoding", choices=[("", "Find out"), *ENCODINGS.items()]
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label="or its text",
        max_length=MAX_BYTES,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )
    faulty: list[FaultyLine] = []

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        file = cleaned.get("file")
        text = cleaned.get("text") or ""
        if file and file.size > MAX_BYTES:
            raise ValidationError(
                f"The file has {file.size:,} bytes; at most {MAX_BYTES:,} are read."
            )
        if not file and not text.strip():
            raise ValidationError("Choose a CSV file or paste its text.")
        name = file.name if file else "the pasted text"
        decoded = self._decoded(file.read() if file else text, cleaned.get("encoding") or "")
        # What was read is what is shown, and what is sent again with the next request.
        cleaned["text"] = decoded.text
        self.data = {**self.data, "text": decoded.text}
        try:
            cleaned["parsed"] = parse(decoded, note=f"declared in {name}")
        except PrismaCsvError as error:
            self.faulty = _faulty(decoded.text, error.remarks)
            raise _invalid(error) from None
        return cleaned

    @staticmethod
    def _decoded(data: bytes | str, encoding: str) -> DecodedFile:
        try:
            return decode(data, COLUMNS, encoding)
        except PrismaCsvError as error:
            raise _invalid(error) from None

    @property
    def parsed(self) -> ParsedFlow:
        parsed: ParsedFlow = self.cleaned_data["parsed"]
        return parsed


def _invalid(error: PrismaCsvError) -> ValidationError:
    return ValidationError([ValidationError(problem) for problem in error.problems])


def _faulty(text: str, problems: tuple[Remark, ...]) -> list[FaultyLine]:
    by_line: dict[int, list[str]] = {}
    for problem in problems:
        if problem.line is not None:
            by_line.setdefault(problem.line, []).append(problem.text)
    all_lines = lines(text)
    return [
        FaultyLine(number, _cut(all_lines[number - 1]), said)
        for number, said in list(by_line.items())[:LINES_SHOWN]
        if number <= len(all_lines)
    ]


def _cut(line: str) -> str:
    """The line, without its middle where it is long: its key and its number are at its ends."""
    line = line.rstrip("\r\n")
    if len(line) <= CHARACTERS_SHOWN:
        return line
    return f"{line[: CHARACTERS_SHOWN // 3]} … {line[-CHARACTERS_SHOWN * 2 // 3 :]}"
