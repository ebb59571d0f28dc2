"""What a visitor is told whose request cannot be answered: why not, or when to come again."""

from typing import Any

from django import forms
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import Truncator

LONGEST_MESSAGE = 300  # a wrong value that it repeats may be of any length


class InvalidForm(BadRequest):
    """A form that does not validate; `fields` has the messages by the name of the field."""

    def __init__(self, message: str, fields: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.fields = fields


def come_again(request: HttpRequest, template: str, *, wait: int, status: int) -> HttpResponse:
    """Return the page that says in how many seconds to try again, as its header does too."""
    page = render(request, template, {"wait": wait}, status=status)
    page["Retry-After"] = str(wait)
    return page


def cleaned_or_400(form: forms.Form) -> dict[str, Any]:
    """Return the form's cleaned data; raise InvalidForm with its messages when it is invalid."""
    if form.is_valid():
        return form.cleaned_data
    messages = [
        str(message) if field == "__all__" else f"“{field}”: {message}"
        for field, errors in form.errors.items()
        for message in errors
    ]
    fields = {
        field: [Truncator(str(message)).chars(LONGEST_MESSAGE) for message in errors]
        for field, errors in form.errors.items()
    }
    raise InvalidForm(Truncator(" ".join(messages)).chars(LONGEST_MESSAGE), fields)
