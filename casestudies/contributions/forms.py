"""The form that brings in a file of runs, and the limits of what it takes."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from casestudies.contributions.reading import HIDDEN, MOST_BYTES, InvalidFile, read
from casestudies.models import LONGEST_CONTRIBUTOR, LONGEST_FILE_NAME
from casestudies.runs.annotating import NoteField
from casestudies.studies.reference_runs import RecordedRun

SHOWN = RegexValidator(HIDDEN, "It has characters that are not shown.", inverse_match=True)
# A name is one line.
ONE_LINE = RegexValidator(r"[\t\n]", "It is more than one line.", inverse_match=True)


class AboutForm(forms.Form):
    """Whose the runs are."""

    contributor = forms.CharField(
        label="Contributed by",
        max_length=LONGEST_CONTRIBUTOR,
        validators=[SHOWN, ONE_LINE],
        help_text="Who made the runs: a name to be shown beside each of their numbers.",
    )
    note = NoteField(help_text="Plain text, for everyone to read: how they came here, on what.")


class ImportForm(AboutForm):
    """A file of records, and whose its runs are."""

    file = forms.FileField(
        label="Results file",
        max_length=LONGEST_FILE_NAME,
        help_text=f"JSON as make gpu-check writes it, at most {MOST_BYTES:,} bytes.",
    )
    field_order = ["file", "contributor", "note"]

    def clean_file(self) -> tuple[str, list[RecordedRun]]:
        """Return the file's name and its runs; raise ValidationError, a line for each fault."""
        file: Any = self.cleaned_data["file"]
        if file.size > MOST_BYTES:
            raise ValidationError(
                f"The file has {file.size:,} bytes; at most {MOST_BYTES:,} are read."
            )
        name = HIDDEN.sub("\ufffd", file.name)
        try:
            return name, read(name, file.read())
        except InvalidFile as error:
            raise ValidationError([ValidationError(fault) for fault in error.faults]) from None
