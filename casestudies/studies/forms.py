"""What a reader may set before a run, as a form made from the study's own schema."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.core.exceptions import BadRequest
from django.http import QueryDict

from casestudies.choices import Device, State
from casestudies.lab.contract import (
    QUICK,
    InvalidParameter,
    ParameterRole,
    Study,
    bounds_of,
)
from casestudies.lab.result import LARGEST_SEED
from casestudies.models import LONGEST_TAG
from casestudies.runs.annotating import TAGS_HELP, NoteField, TagsField, as_kept
from casestudies.runs.starting import Request, models_for, most_waiting
from casestudies.runs.sweeping import FEWEST_VALUES, MOST_VALUES, InvalidSweep, SweepRequest
from reviewapp.ui.fields import WholeNumberField

LONGEST_VALUE = 100
LONGEST_LIST = 1_000
MOST_TAGS_SHOWN = 30
TRUE = ("true", "1", "on", "yes")


@dataclass(frozen=True)
class Parameter:
    """One parameter as the form shows it: its field, unit and bounds in words."""

    field: forms.BoundField
    unit: str
    bounds: str


class RunForm(forms.Form):
    """A study's parameters, seed, device and model; `request` is what a valid form asks for.

    Where a parameter is to vary, `sweep` is what it asks for. The fields only draw: what is valid
    is for the study's schema to say, in its own words.
    """

    preset = forms.CharField(widget=forms.HiddenInput, max_length=LONGEST_VALUE)
    seed = WholeNumberField(
        min_value=0,
        max_value=LARGEST_SEED,
        initial=0,
        help_text="The same seed and settings on the same machine repeat a run.",
    )
    device = forms.ChoiceField(
        choices=Device.choices,
        initial=Device.CPU,
        help_text="A GPU run waits until a worker that has a GPU takes it.",
    )
    vary = forms.ChoiceField(required=False, label="Parameter that varies")
    values = forms.CharField(required=False, max_length=LONGEST_LIST, label="Its values")
    note = NoteField(help_text="What it is for; plain text, of at most 2,000 characters.")
    tags = TagsField(help_text=TAGS_HELP)
    request: Request
    sweep: SweepRequest | None = None

    def __init__(self, study: Study, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")
        self.study = study
        self.schemas = study.schemas
        for name, schema in self.schemas.items():
            self.fields[name] = _field(name, schema)
        named = [(name, self.fields[name].label) for name in self.schemas]
        self.fields["vary"].choices = [("", "none: one run"), *named]  # type: ignore[attr-defined]
        self.fields["values"].help_text = (
            f"{FEWEST_VALUES} to {MOST_VALUES}, parted by commas, such as 1, 2, 4; they stand for"
            f" what is set above. One may have {most_waiting()} runs waiting."
        )
        offered = [(value, label) for value, label in Device.choices if value in study.devices]
        self.fields["device"].choices = offered  # type: ignore[attr-defined]
        if models := models_for(study):
            self.fields["model"] = forms.ChoiceField(
                choices=[("", "SmolLM2-135M, bundled"), *((name, name) for name in models)],
                required=False,
                help_text="On which model; whoever keeps this site offers them.",
            )

    @classmethod
    def filled(cls, study: Study, query: QueryDict) -> "RunForm":
        """Return the form filled with a preset's values, and with those that the address gives.

        Raises BadRequest for a preset that the study does not have.
        """
        preset = query.get("preset") or QUICK
        try:
            values = study.check(preset, {}).model_dump(mode="json")
        except InvalidParameter:
            raise BadRequest("The study has no preset of that name.") from None
        form = cls(study)
        given = {name: query.get(name, "") for name in form.fields if name in query}
        form.initial = {**values, **given, "preset": preset}
        for name, field in form.fields.items():
            if isinstance(field, forms.BooleanField) and name in given:
                form.initial[name] = given[name].lower() in TRUE
        return form

    @property
    def query(self) -> dict[str, str]:
        """Return the keys and values by which an address fills the form as it was sent."""
        sent: dict[str, str] = {}
        for name, field in self.fields.items():
            value = str(field.widget.value_from_datadict(self.data, {}, name) or "")
            is_choice = isinstance(field, forms.BooleanField)
            longest = getattr(field, "max_length", None) or LONGEST_LIST
            sent[name] = str(bool(value)).lower() if is_choice else value[:longest]
        return sent

    @property
    def chosen_preset(self) -> str:
        return str(self["preset"].value())

    @property
    def sweep_shown(self) -> bool:
        """Return whether the part of the form for a sweep is to be seen at once."""
        return any(self[name].value() or self[name].errors for name in ("vary", "values"))

    @property
    def annotation_shown(self) -> bool:
        """Return whether the part of the form for note and tags is to be seen at once."""
        return any(self[name].value() or self[name].errors for name in ("note", "tags"))

    @property
    def main_parameters(self) -> list[Parameter]:
        """Return what is measured and how the method is set, the method first."""
        return [*self._with_role("method"), *self._with_role("workload")]

    @property
    def effort_parameters(self) -> list[Parameter]:
        """Return what only makes a number surer."""
        return self._with_role("effort")

    def _with_role(self, role: ParameterRole) -> list[Parameter]:
        schemas = {name: self.schemas[name] for name in self.study.with_role(role)}
        return [
            Parameter(self[name], schema.get("unit", ""), _bounds(schema))
            for name, schema in schemas.items()
        ]

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if self.errors:
            return values
        given = {name: values[name] for name in self.schemas}
        device = Device(values["device"])
        try:
            checked = Request.checked(
                self.study, values["preset"], given, values["seed"], device
            ).on(values.get("model", ""))
        except InvalidParameter as error:
            if error.name in self.schemas:
                self.add_error(error.name, error.reason)
            else:
                self.add_error(None, str(error))
            return values
        self.request = replace(checked, note=values["note"], tags=values["tags"])
        self._read_sweep(values["vary"], values["values"])
        return values

    def _read_sweep(self, parameter: str, listed: str) -> None:
        """Take over which parameter varies, if any, and add the errors of its values."""
        if listed and not parameter:
            self.add_error("vary", "Choose the parameter that these values are of.")
        if not parameter:
            return
        values = [value for value in re.split(r"[\s,;]+", listed) if value]
        try:
            self.sweep = SweepRequest.over(self.request, parameter, values)
        except InvalidSweep as error:
            self.add_error("values", error.reasons)


class HistoryForm(forms.Form):
    """Which of a study's runs are listed."""

    state = forms.ChoiceField(choices=State.choices, required=False)
    tag = forms.CharField(max_length=LONGEST_TAG, required=False)

    def clean_tag(self) -> str:
        """Return the tag as tags are kept."""
        return as_kept(self.cleaned_data["tag"])


def _bounds(schema: Mapping[str, Any]) -> str:
    """Return in words what the field itself does not show."""
    limits = ("minimum", "maximum", "multipleOf")
    return bounds_of({name: schema[name] for name in limits if name in schema})


def _field(name: str, schema: Mapping[str, Any]) -> forms.Field:
    """Return the field that draws a parameter of this JSON schema."""
    common = {"label": name.replace("_", " ").capitalize(), "help_text": schema["description"]}
    if schema.get("type") == "boolean":
        return forms.BooleanField(required=False, **common)
    return forms.CharField(widget=_widget(schema), max_length=LONGEST_VALUE, **common)


def _widget(schema: Mapping[str, Any]) -> forms.Widget:
    if "enum" in schema:
        return forms.Select(choices=[(value, value) for value in schema["enum"]])
    if schema.get("type") not in ("integer", "number"):
        return forms.TextInput()
    step = schema.get("multipleOf", 1) if schema["type"] == "integer" else "any"
    bounds = {"min": schema.get("minimum"), "max": schema.get("maximum"), "step": step}
    return forms.NumberInput({name: value for name, value in bounds.items() if value is not None})
