"""What is said of a form that does not validate."""

import pytest
from django import forms

from reviewapp.ui.errors import LONGEST_MESSAGE, InvalidForm, cleaned_or_400


class Span(forms.Form):
    first = forms.IntegerField()
    last = forms.IntegerField()

    def clean(self) -> None:
        if self.cleaned_data.get("last") == 0:
            raise forms.ValidationError("It ends before it begins.")


def test_what_is_wrong_is_said_with_the_field_that_it_is_wrong_in_and_of_none_without() -> None:
    with pytest.raises(InvalidForm) as said:
        cleaned_or_400(Span({"first": "x", "last": "0"}))
    assert str(said.value) == "“first”: Enter a whole number. It ends before it begins."
    assert said.value.fields == {
        "first": ["Enter a whole number."],
        "__all__": ["It ends before it begins."],
    }
    assert cleaned_or_400(Span({"first": "1", "last": "2"})) == {"first": 1, "last": 2}


def test_a_long_message_is_cut() -> None:
    class Named(forms.Form):
        name = forms.ChoiceField(choices=[])

    with pytest.raises(InvalidForm) as said:
        cleaned_or_400(Named({"name": "n" * 1000}))
    for message in (str(said.value), *said.value.fields["name"]):
        assert len(message) == LONGEST_MESSAGE
        assert message.endswith("…")
