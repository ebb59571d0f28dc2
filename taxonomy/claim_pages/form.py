"""The keys of an address that choose claims: those of publications, and those of claims."""

from collections.abc import Iterable

from django import forms
from django.db.models import TextChoices
from django.http import QueryDict

from reviewapp.rest.reading import Slugs
from reviewapp.ui.fields import NumberField
from taxonomy.choices import (
    BaselineKind,
    Objective,
    Phase,
    Replicability,
    Scope,
    Status,
    Sureness,
)
from taxonomy.claims.certainty import Degree
from taxonomy.claims.degrees import QUESTIONS
from taxonomy.models import Quantity
from taxonomy.publications.filter import PublicationForm
from taxonomy.publications.kinds import Facet

LARGEST = 1_000_000

Choices = Iterable[tuple[str, str]]

NUMBERS = {
    "memory_at_least": "Its largest device, named or implied, has this much memory or more, in GB",
    "memory_at_most": "Its largest device, named or implied, has this much memory or less, in GB",
    "model_at_least": "A model that the claim names has this many parameters or more, in billions",
    "model_at_most": "A model that the claim names has this many parameters or fewer, in billions",
}


def _choice(key: str, choices: Choices, help_text: str) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        required=False,
        choices=choices,
        help_text=help_text,
        error_messages={"invalid_choice": f"There is no {key} “%(value)s”."},
    )


def _of(key: str, kinds: type[TextChoices], help_text: str) -> forms.MultipleChoiceField:
    # A label may be empty, which a form would take for no choice.
    return _choice(key, [(kind.value, kind.value) for kind in kinds], help_text)


def _slugs(help_text: str, thing: str) -> Slugs:
    wrong = f"“%(value)s” cannot be the {thing}."
    return Slugs(required=False, help_text=help_text, error_messages={"invalid_choice": wrong})


class ClaimForm(PublicationForm):
    """The keys that choose claims; a key that is given several times means any of its values."""

    def __init__(self, data: QueryDict, facets: Iterable[Facet]) -> None:
        """Take the keys of publications, but for their order; a claim's own come before them."""
        super().__init__(data, facets)
        self.of_publications = self.fields.keys() - {"q", "sort", *OWN}
        del self.fields["sort"]
        self.fields["strategy"].help_text = "That the claim is an effect of, by its scope"
        self.fields["family"].help_text = "Of a strategy that the claim is an effect of"
        self.fields["q"].help_text = "Words to search for in claims"
        quantities = Quantity.objects.values_list("slug", "name")
        self.fields |= {
            "publication": _slugs("Keys of publications", "key of a publication"),
            "quantity": _choice("quantity", quantities, "What the number measures"),
            "objective": _of("objective", Objective, "What the claim is about"),
            "phase": _of("phase", Phase, "In which part of a model's life"),
            "scope": _of("scope", Scope, "Whether it is an effect, and of how much"),
            "baseline_kind": _of("baseline_kind", BaselineKind, "What it is relative to"),
            "hardware": forms.CharField(
                required=False,
                max_length=100,
                help_text="Part of the name of a device that the claim states, in any case",
            ),
            **{
                key: NumberField(
                    required=False, min_value=0, max_value=LARGEST, help_text=help_text
                )
                for key, help_text in NUMBERS.items()
            },
            "testable": _of("testable", Replicability, "How far a small run could speak to it"),
            "study": _slugs("Slugs of the studies that speak to it", "slug of a study"),
            "outcome": _of("outcome", Status, "What stands for the claim on some hardware here"),
            "attribution_confidence": _of(
                "attribution_confidence", Sureness, "How sure its reader was of the attribution"
            ),
            **{
                key: _choice(key, DEGREES, "How far this question of its certainty is answered")
                for key in QUESTIONS
            },
        }


DEGREES = [(degree.value, degree.value) for degree in Degree]
# What a claim has of its own under a key that publications have too.
OWN = {"strategy", "family", "objective", "quantity", "phase", "scope", "hardware", "outcome"}
OWN |= {"publication", "baseline_kind", "testable", "study", *NUMBERS, *QUESTIONS}
