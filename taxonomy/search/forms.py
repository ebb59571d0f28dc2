"""The keys of the address of a search."""

from django import forms

from taxonomy.search.found import GROUPS
from taxonomy.search.syntax import MOST_CHARACTERS


class SearchForm(forms.Form):
    """What to search for, and which group of what is found to show whole."""

    q = forms.CharField(
        required=False,
        max_length=MOST_CHARACTERS,
        help_text=(
            "Words, or an identifier: arXiv, DOI, key or repository; "
            "quotes, OR and a hyphen before a word as in a web search"
        ),
        error_messages={"max_length": f"A search may have at most {MOST_CHARACTERS} characters."},
    )
    group = forms.ChoiceField(
        required=False,
        choices=list(GROUPS.items()),
        error_messages={"invalid_choice": "There is no group “%(value)s”."},
    )
