"""What a practitioner asks: about which quantities, in which phase, on a device of what memory."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django import forms
from django.db.models import Q
from django.http import QueryDict
from django.urls import reverse

from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.fields import WholeNumberField
from taxonomy.choices import DeviceRole, Phase, QuantityGroup
from taxonomy.models import Claim
from taxonomy.querysets import ClaimQuerySet

OWN = (DeviceRole.STATED, DeviceRole.IMPLIED)  # a device of the baseline is not the claim's
MOST_GB = 10_000


class QuestionForm(forms.Form):
    """What the address of an answer may ask for."""

    about = forms.ChoiceField(choices=QuantityGroup, label="What about?")
    phase = forms.ChoiceField(
        choices=[("", "any phase"), *Phase.choices], required=False, label="When"
    )
    memory = WholeNumberField(min_value=1, max_value=MOST_GB, label="GPU memory, GB")


@dataclass(frozen=True)
class Question:
    """Claims about a group of quantities, in a phase or any (empty), on devices up to `memory` GB.

    Only a claim's own devices count, named or implied by its words; those of its publication or
    of its baseline never do.
    """

    about: QuantityGroup
    phase: Phase | None
    memory: float

    @property
    def url(self) -> str:
        query = {"about": self.about.value, "phase": self.phase or "", "memory": f"{self.memory:g}"}
        given = {key: value for key, value in query.items() if value}
        return f"{reverse('answers')}?{urlencode(given)}"

    @property
    def subject(self) -> str:
        """Return what is asked about: "memory for inference"."""
        return f"{self.about.label.lower()}{self.in_phase}"

    @property
    def in_phase(self) -> str:
        if self.phase is None:
            return ""
        return f" {self.phase.label}" if self.phase == Phase.NONE else f" for {self.phase.label}"

    def in_this_phase(self) -> ClaimQuerySet:
        """Return the claims of the phase about anything."""
        return Claim.objects.filter(phase=self.phase) if self.phase else Claim.objects.all()

    def about_it(self) -> ClaimQuerySet:
        """Return the claims of the phase about what is asked, on any device or none."""
        return self.in_this_phase().filter(axis__quantity__group=self.about)

    def behind_the_answer(self) -> ClaimQuerySet:
        """Return the claims about it on any device, and those on such devices about anything."""
        such = on_such_devices(self.memory)
        return self.in_this_phase().filter(Q(axis__quantity__group=self.about) | such)


def on_such_devices(memory: float) -> Q:
    """Return the condition that a claim has a device of up to so many GB, and none with more.

    A larger device does not count against a claim that names them as alternatives.
    """
    return Q(device_gb__lte=memory)


def read_question(data: QueryDict) -> Question:
    """Return what an address asks; raise BadRequest, with a sentence for the reader, if nothing."""
    given = cleaned_or_400(QuestionForm(data))
    phase = Phase(given["phase"]) if given["phase"] else None
    return Question(QuantityGroup(given["about"]), phase, given["memory"])


def filled(question: Question) -> QuestionForm:
    """Return the form with the question in it, to ask another."""
    given = {"about": question.about, "phase": question.phase, "memory": question.memory}
    return QuestionForm(initial=given)


FIRST_QUESTION = Question(QuantityGroup.MEMORY, Phase.INFERENCE, 24)
