"""What a person may ask of the PRISMA pages."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from reviewapp.corpus.prisma.csv_file import MAX_BYTES, ParsedFlow, PrismaCsvError, read
from reviewapp.corpus.prisma.flow import VARIANTS


class PrismaOptions(forms.Form):
    """Which template to draw, and how large an image to make of it."""

    variant = forms.ChoiceField(
        required=False,
        label="Template",
        choices=[("", "As the numbers ask for"), *((s, v.title) for s, v in VARIANTS.items())],
        error_messages={"invalid_choice": "There is no template “%(value)s”."},
    )
    dpi = forms.FloatField(required=False, min_value=72, max_value=600)
    scale = forms.FloatField(required=False, min_value=0.5, max_value=4)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("dpi") and cleaned.get("scale"):
            raise ValidationError("Choose a dpi or a scale, not both.")
        return cleaned


class PrismaImport(PrismaOptions):
    """A filled CSV of the PRISMA2020 package, as a file or as text."""

    file = forms.FileField(required=False, label="CSV file", max_length=200)
    text = forms.CharField(
        required=False,
        strip=False,
        label="or its text",
        max_length=MAX_BYTES,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )

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
        data = file.read() if file else text
        name = file.name if file else "the pasted text"
        try:
            cleaned["parsed"] = read(data, note=f"declared in {name}")
        except PrismaCsvError as error:
            raise ValidationError(
                [ValidationError(problem) for problem in error.problems]
            ) from None
        cleaned["text"] = data if isinstance(data, str) else data.decode("utf-8-sig")
        return cleaned

    @property
    def parsed(self) -> ParsedFlow:
        parsed: ParsedFlow = self.cleaned_data["parsed"]
        return parsed
