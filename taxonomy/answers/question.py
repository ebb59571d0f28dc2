"""What a practitioner asks: about which quantities, in which phase, on what device and model."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django import forms
from django.db.models import Q
from django.http import QueryDict
from django.urls import reverse

from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.fields import NumberField, WholeNumberField
from reviewapp.ui.units import number
from taxonomy.choices import DeviceRole, Phase, QuantityGroup
from taxonomy.models import Claim
from taxonomy.querysets import ClaimQuerySet

OWN = (DeviceRole.STATED, DeviceRole.IMPLIED)  # a device of the baseline is not the claim's
MOST_GB = 10_000
MOST_BILLION = 1_000_000


class QuestionForm(forms.Form):
    """What the address of an answer may ask for."""

    about = forms.ChoiceField(choices=QuantityGroup, label="What about?")
    phase = forms.ChoiceField(
        choices=[("", "any phase"), *Phase.choices], required=False, label="When"
    )
    memory = WholeNumberField(min_value=1, max_value=MOST_GB, label="GPU memory, GB")
    parameters = NumberField(
        min_value=0,
        max_value=MOST_BILLION,
        required=False,
        label="Model, billion parameters",
        widget=forms.NumberInput(attrs={"placeholder": "any size", "step": "any"}),
    )


@dataclass(frozen=True)
class Question:
    """Claims about a group of quantities, in a phase or any (empty), on devices up to `memory` GB.

    With `parameters`, also on a model of so many billion or more: who has such a device and model
    asks for what was shown with no more than the one and no less than the other. Only a claim's
    own devices and models count, named or implied by its words; those of its publication or of
    its baseline never do.
    """

    about: QuantityGroup
    phase: Phase | None
    memory: float
    parameters: float | None = None

    @property
    def url(self) -> str:
        query = {
            "about": self.about.value,
            "phase": self.phase or "",
            "memory": f"{self.memory:g}",
            "parameters": self.size,
        }
        given = {key: value for key, value in query.items() if value}
        return f"{reverse('answers')}?{urlencode(given)}"

    @property
    def size(self) -> str:
        """Return the model's parameters as an address writes them: "13"; empty if not asked."""
        return number(self.parameters).replace(",", "")

    @property
    def subject(self) -> str:
        """Return what is asked about: "memory for inference"."""
        return f"{self.about.label.lower()}{self.in_phase}"

    @property
    def in_phase(self) -> str:
        if self.phase is None:
            return ""
        return f" {self.phase.label}" if self.phase == Phase.NONE else f" for {self.phase.label}"

    @property
    def device(self) -> str:
        """Return on what, in words: "a device of up to 24 GB and a model of 13 billion ..."."""
        return f"a device of up to {number(self.memory)}\u202fGB{self._and_model}"

    @property
    def devices(self) -> str:
        """Return the same of many."""
        return f"devices of up to {number(self.memory)}\u202fGB{self._and_model}"

    @property
    def _and_model(self) -> str:
        if self.parameters is None:
            return ""
        return f" and a model of {number(self.parameters)} billion parameters or more"

    @property
    def on_such(self) -> Q:
        """Return the condition that a claim has such a device and, if asked, such a model."""
        such = on_such_devices(self.memory)
        return such & Q(parameters_billion__gte=self.parameters) if self.parameters else such

    def in_this_phase(self) -> ClaimQuerySet:
        """Return the claims of the phase about anything."""
        return Claim.objects.filter(phase=self.phase) if self.phase else Claim.objects.all()

    def about_it(self) -> ClaimQuerySet:
        """Return the claims of the phase about what is asked, on any device or none."""
        return self.in_this_phase().filter(axis__quantity__group=self.about)

    def behind_the_answer(self) -> ClaimQuerySet:
        """Return the claims about it on any device, and those on such devices about anything."""
        return self.in_this_phase().filter(Q(axis__quantity__group=self.about) | self.on_such)


def on_such_devices(memory: float) -> Q:
    """Return the condition that a claim has a device of up to so many GB, and none with more.

    A larger device does not count against a claim that names them as alternatives.
    """
    return Q(device_gb__lte=memory)


def read_question(data: QueryDict) -> Question:
    """Return what an address asks; raise BadRequest, with a sentence for the reader, if nothing."""
    given = cleaned_or_400(QuestionForm(data))
    phase = Phase(given["phase"]) if given["phase"] else None
    about = QuantityGroup(given["about"])
    return Question(about, phase, given["memory"], given["parameters"] or None)


def filled(question: Question) -> QuestionForm:
    """Return the form with the question in it, to ask another."""
    return QuestionForm(initial={**vars(question), "parameters": question.size})


FIRST_QUESTION = Question(QuantityGroup.MEMORY, Phase.INFERENCE, 24)
