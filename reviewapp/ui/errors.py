"""Turn a form that does not validate into a 400 page that says why."""

from typing import Any

from django import forms
from django.core.exceptions import BadRequest
from django.utils.text import Truncator

LONGEST_MESSAGE = 300  # a wrong value that it repeats may be of any length


def cleaned_or_400(form: forms.Form) -> dict[str, Any]:
    """Return the form's cleaned data; raise BadRequest with its messages when it is invalid."""
    if form.is_valid():
        return form.cleaned_data
    messages = [
        str(message) if field == "__all__" else f"“{field}”: {message}"
        for field, errors in form.errors.items()
        for message in errors
    ]
    raise BadRequest(Truncator(" ".join(messages)).chars(LONGEST_MESSAGE))
