"""Which publications and claims are counted and listed: by class, year, membership and memory."""

from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.db.models import TextChoices
from django.http import QueryDict

from reviewapp.corpus.choices import COUNTED, Membership
from reviewapp.ui.fields import WholeNumberField
from taxonomy.models import TaxonomyClass

FIRST_YEAR, LAST_YEAR = 1950, 2100
MOST_GB, USUAL_GB = 1_000_000, 24
MEMBERS = {
    "": ("The review’s own", COUNTED),
    "named": ("Only those named", (Membership.NAMED,)),
    "all": ("With extensions", tuple(Membership)),
}


class Memory(TextChoices):
    """What is asked of the memory of a claim's own devices, named or implied by its words."""

    AT_MOST = "at-most", "At most"
    AT_LEAST = "at-least", "At least"
    NOT_STATED = "not-stated", "Not stated"


MEMORY = [("", "Any, or not stated"), *Memory.choices]
SIZED = (Memory.AT_MOST, Memory.AT_LEAST)


@dataclass(frozen=True)
class Chosen:
    """Which publications and claims are counted; without any choice all of the review's own.

    Publications have all the `classes`, and are of one of the `members`. `gb` belongs to a memory
    of at most or at least so many gigabytes. A claim passes by its `device_gb`: by the
    largest of its devices, or the least of alternatives; what it does not state is not guessed.
    """

    classes: tuple[str, ...] = ()
    first: int | None = None
    last: int | None = None
    membership: str = ""
    memory: str = ""
    gb: int | None = None

    @property
    def members(self) -> tuple[Membership, ...]:
        return MEMBERS[self.membership][1]

    @property
    def is_whole_review(self) -> bool:
        """Whether all of the review's own publications are counted, and no others."""
        return replace(self, memory="", gb=None) == Chosen()

    @property
    def query(self) -> dict[str, list[str]]:
        """Return what an address says to choose the same."""
        gb = self.gb if self.gb != USUAL_GB else None
        values = {"from": self.first, "to": self.last, "membership": self.membership}
        values |= {"memory": self.memory, "gb": gb}
        given = {key: [str(value)] for key, value in values.items() if value not in ("", None)}
        return {"class": list(self.classes), **given} if self.classes else given

    def in_words(self, classes: dict[str, str]) -> str:
        """Return what is chosen, to be read after a colon; `classes` are their names by slug."""
        words = [MEMBERS[self.membership][0].lower()]
        words += [classes[slug] for slug in self.classes]
        words += [f"since {self.first}"] if self.first is not None else []
        words += [f"until {self.last}"] if self.last is not None else []
        size = f" {self.gb:,} GB" if self.gb else ""
        memory = f"device memory {dict(MEMORY)[self.memory].lower()}{size}"
        return ", ".join([*words, memory if self.memory else "any device"])


class ChosenForm(forms.Form):
    """What an address may choose."""

    membership = forms.ChoiceField(
        choices=[(key, label) for key, (label, _) in MEMBERS.items()], required=False
    )
    memory = forms.ChoiceField(choices=MEMORY, required=False)
    gb = WholeNumberField(min_value=1, max_value=MOST_GB, required=False)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.classes = dict(TaxonomyClass.objects.values_list("slug", "name"))
        # A select says nothing of its first option as an empty value.
        known = [("", "All"), *self.classes.items()]
        self.fields["class"] = forms.MultipleChoiceField(choices=known, required=False)
        for key in ("from", "to"):
            self.fields[key] = WholeNumberField(
                min_value=FIRST_YEAR, max_value=LAST_YEAR, required=False
            )


def chosen_of(given: dict[str, Any]) -> Chosen:
    """Return what the cleaned data of a form chooses; years may be given in either order."""
    first, last = given["from"], given["to"]
    if first is not None and last is not None:
        first, last = sorted((first, last))
    return Chosen(
        classes=tuple(sorted(filter(None, given["class"]))),
        first=first,
        last=last,
        membership=given["membership"],
        memory=given["memory"],
        gb=(given["gb"] or USUAL_GB) if given["memory"] in SIZED else None,
    )
