"""The note and the tags that people give a run: how they are read, and how they are changed."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from casestudies.models import LONGEST_NOTE, LONGEST_TAG, MOST_TAGS, Run

# What nobody sees would make two tags look the same; commas part them in the form.
IN_TAG = (
    r"^[^\x00-\x1f\x7f-\x9f\xad,\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff]*$"
)
IN_NOTE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"  # tabs and ends of lines are
LONGEST_LIST = 1_000  # of tags as they are typed
TAGS_HELP = (
    f"At most {MOST_TAGS}, each of at most {LONGEST_TAG} characters, parted by commas; runs can be"
    " found by them."
)


def normalised(texts: Iterable[str]) -> list[str]:
    """Return the tags as they are kept: trimmed, in lower case, with single spaces, each once.

    Empty ones are left out. Raises ValidationError for what is no tag, and for too many.
    """
    tags = list(dict.fromkeys(filter(None, map(as_kept, texts))))
    for tag in tags:
        if len(tag) > LONGEST_TAG:
            raise ValidationError(
                f"A tag has at most {LONGEST_TAG} characters: “{tag[:LONGEST_TAG]}…” has"
                f" {len(tag):,}."
            )
        if not re.fullmatch(IN_TAG, tag):
            raise ValidationError("A tag has no commas and no characters that nobody sees.")
    if len(tags) > MOST_TAGS:
        raise ValidationError(f"A run has at most {MOST_TAGS} tags, not {len(tags):,}.")
    return tags


def as_kept(text: str) -> str:
    """Return one tag as it is kept."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


class NoteField(forms.CharField):
    """A note: plain text of several lines."""

    def __init__(self, **options: Any) -> None:
        widget = forms.Textarea({"rows": 3})
        super().__init__(max_length=LONGEST_NOTE, required=False, widget=widget, **options)
        self.validators.append(RegexValidator(IN_NOTE, "A note has no control characters."))

    def to_python(self, value: Any) -> str:
        """Return the text; an end of a line, which a form sends as two characters, is one."""
        return str(super().to_python(value)).replace("\r\n", "\n").replace("\r", "\n")


class TagsField(forms.Field):
    """Tags in one line, parted by commas."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=forms.TextInput(), **options)

    def to_python(self, value: Any) -> list[str]:
        """Return the tags as they are kept; raise ValidationError."""
        text = str(value or "")
        if len(text) > LONGEST_LIST:
            raise ValidationError(f"All tags together have at most {LONGEST_LIST:,} characters.")
        return normalised(text.split(","))

    def prepare_value(self, value: Any) -> Any:
        """Return what stands in the form for tags, or for what was typed."""
        return ", ".join(value) if isinstance(value, list) else value


class NoteForm(forms.Form):
    """The note of a sweep."""

    note = NoteField(help_text=f"Plain text, at most {LONGEST_NOTE:,} characters.")


class AnnotationForm(NoteForm):
    """The note and the tags of a run."""

    tags = TagsField(help_text=TAGS_HELP)

    @classmethod
    def of(cls, run: Run) -> "AnnotationForm":
        """Return the form with what the run has."""
        return cls(initial={"note": run.note, "tags": run.tags}, label_suffix="")


def annotate(run: Run, **changes: Any) -> None:
    """Store the run's `note`, its `tags` or both, and nothing that its worker writes."""
    Run.objects.filter(pk=run.pk).update(**changes)
