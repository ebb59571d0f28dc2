"""The form in which each number and each label of a diagram can be changed.

Its state is in its fields, which an address can hold: a number by its key, a list one item a line
as in the CSV, a label as `label.` and the row that prints it. Nothing is stored.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError

from reviewapp.corpus.prisma.csv_file import ParsedFlow, check_items, read, with_labels
from reviewapp.corpus.prisma.flow import BOXES, BY_KEY, VALUES, Arm, Entry, Flow, FlowTemplate
from reviewapp.corpus.prisma.forms import OwnDiagramOptions
from reviewapp.corpus.prisma.presentation import BAND_ROWS, BAR_ROWS
from reviewapp.corpus.prisma.reading.cells import CellReader, written
from reviewapp.corpus.prisma.reading.decoding import MAX_BYTES
from reviewapp.corpus.prisma.reading.remarks import PrismaCsvError, Remark

LONGEST_LINK = 2_000  # characters of an address that mail programs and chats leave whole
_ARMS: dict[Arm, str] = {
    "previous": "Previous studies",
    "databases": "Databases and registers",
    "other": "Other methods",
    "included": "Included",
    "total": "Total",
    "meta-analysis": "Meta-analysis",
}
# What a title is of, and its official words, by the row that prints it.
_TITLES = {
    **{
        row: (f"Title bar: {_ARMS[arm]}", FlowTemplate(previous=True, other=True).column_title(arm))
        for arm, row in BAR_ROWS.items()
    },
    **{row: (f"Stage: {stage}", stage) for stage, row in BAND_ROWS.items()},
}


class EditedRow(NamedTuple):
    """The fields of one row of the CSV: its number (none for a title) and its printed label."""

    name: str
    number: forms.BoundField | None
    label: forms.BoundField
    listed: bool


class PrismaEdit(OwnDiagramOptions):
    """A whole flow as fields; `parsed` has what they say once they are valid."""

    text = forms.CharField(
        required=False, strip=False, max_length=MAX_BYTES, widget=forms.HiddenInput
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for value in VALUES:
            self.fields[value.key] = _number_field(value.label, listed=value.listed)
            self.fields[f"label.{value.key}"] = _label_field(value.label, value.label)
        for row, (name, official) in _TITLES.items():
            self.fields[f"label.{row}"] = _label_field(name, official)

    @classmethod
    def is_filled(cls, sent: Mapping[str, Any]) -> bool:
        """Whether these are the fields of this form, and not a file to open in it."""
        return any(key in sent for key in BY_KEY)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        notices: list[Remark] = []
        entries = {key: self._entry(key, cleaned.get(key) or "", notices) for key in BY_KEY}
        known = {key: entry for key, entry in entries.items() if entry.origin != "not reported"}
        labels = {
            name.removeprefix("label."): text
            for name, text in cleaned.items()
            if name.startswith("label.")
        }
        try:
            check_items(known.values())
            texts = read(cleaned["text"]).texts if cleaned.get("text") else {}
        except PrismaCsvError as error:
            raise ValidationError(
                [ValidationError(problem) for problem in error.problems]
            ) from None
        self.parsed = ParsedFlow(Flow(known), with_labels(texts, labels), tuple(notices))
        return cleaned

    @property
    def groups(self) -> list[tuple[str, list[EditedRow]]]:
        """The rows by the column of the diagram in which they stand, its titles last."""
        groups: dict[str, list[EditedRow]] = {}
        for value in VALUES:
            row = self._row(value.label, value.key, listed=value.listed)
            groups.setdefault(_ARMS[BOXES[value.box].arm], []).append(row)
        groups["Titles"] = [
            EditedRow(name, None, self[f"label.{row}"], listed=False)
            for row, (name, _) in _TITLES.items()
        ]
        return list(groups.items())

    @property
    def query(self) -> str:
        """The state as the query of an address, without what is empty."""
        left_out = {"text", "dpi", "scale"}
        state = {
            name: "on" if value is True else value
            for name, value in self.cleaned_data.items()
            if value and name not in left_out
        }
        return urlencode(state)

    @property
    def link_is_short(self) -> bool:
        return len(self.query) <= LONGEST_LINK

    def _row(self, name: str, key: str, *, listed: bool) -> EditedRow:
        return EditedRow(name, self[key], self[f"label.{key}"], listed)

    def _entry(self, key: str, text: str, notices: list[Remark]) -> Entry:
        reader = CellReader()
        one_line = ";".join(text.splitlines())
        try:
            entry = reader.entry(
                one_line, "declared", "declared in the editor", listed=BY_KEY[key].listed
            )
        except ValueError as error:
            self.add_error(key, str(error))
            return Entry()
        notices += [Remark(notice, row=key) for notice in reader.notices]
        return entry


def as_fields(parsed: ParsedFlow) -> dict[str, str]:
    """The values of the form's fields for a flow and its labels."""
    numbers = {
        key: written(entry).replace("; ", "\n") for key, entry in parsed.flow.entries.items()
    }
    return numbers | {f"label.{row}": label for row, label in parsed.labels.items()}


def _number_field(label: str, *, listed: bool) -> forms.CharField:
    if listed:
        lines = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})
        return forms.CharField(required=False, label=label, max_length=MAX_BYTES, widget=lines)
    plain = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    return forms.CharField(required=False, label=label, max_length=40, widget=plain)


def _label_field(name: str, official: str) -> forms.CharField:
    own = forms.TextInput(attrs={"placeholder": official, "autocomplete": "off"})
    return forms.CharField(
        required=False, label=f"Printed label of {name}", max_length=MAX_BYTES, widget=own
    )
