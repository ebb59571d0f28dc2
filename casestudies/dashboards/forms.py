"""The keys of the dashboards' addresses, and the values that each may have."""

from collections.abc import Iterable

from django import forms
from django.http import QueryDict

from casestudies.choices import Device
from casestudies.dashboards.queries import RUNS
from casestudies.dashboards.selection import ACROSS, Selection, default_axes, metrics_of
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.metrics import Metric
from casestudies.models import LONGEST_TAG
from casestudies.runs.annotating import as_kept
from reviewapp.ui.errors import cleaned_or_400


def _choice(what: str, values: Iterable[str]) -> forms.ChoiceField:
    return forms.ChoiceField(
        required=False,
        choices=[(value, value) for value in values],
        error_messages={"invalid_choice": f"There is no {what} “%(value)s”."},
    )


class StudyForm(forms.Form):
    """Which study is shown; the other keys depend on it."""

    study = _choice("study", [*STUDIES, ACROSS])


class DashboardForm(forms.Form):
    """The other keys of the address and the values that each may have."""

    hardware = forms.CharField(required=False, max_length=300)
    device = _choice("device", Device.values)
    runs = _choice("kind of runs", RUNS)
    tag = forms.CharField(required=False, max_length=LONGEST_TAG)
    group = forms.CharField(required=False, max_length=40)
    together = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict, studies: list[Study], metrics: list[Metric]) -> None:
        super().__init__(data)
        names = [metric.name for metric in metrics]
        only = studies[0] if len(studies) == 1 else None
        self.fields |= {
            "preset": _choice("preset", presets_of(studies)),
            "x": _choice("metric to draw", names),
            "y": _choice("metric to draw", names),
            "baseline": _choice("baseline", [v.name for v in only.variants] if only else ()),
            "curve": _choice("curve", [s.name for s in only.series] if only else ()),
        }

    def clean_tag(self) -> str:
        """Return the tag as tags are kept."""
        return as_kept(self.cleaned_data["tag"])


def presets_of(studies: Iterable[Study]) -> list[str]:
    """Return the names of the studies' presets, each once."""
    return list(dict.fromkeys(name for study in studies for name in study.presets))


def read_selection(data: QueryDict) -> Selection:
    """Return what an address asks for; keys that are not known are ignored.

    Raises BadRequest, with a sentence for the reader, for a value that cannot be.
    """
    slug = cleaned_or_400(StudyForm(data))["study"] or next(iter(STUDIES))
    study = None if slug == ACROSS else STUDIES[slug]
    metrics = metrics_of(study)
    studies = [study] if study else list(STUDIES.values())
    given = cleaned_or_400(DashboardForm(data, studies, metrics))
    by_name = {metric.name: metric for metric in metrics}
    default_x, default_y = default_axes(study)
    x = by_name.get(given.pop("x"), default_x)
    y = by_name.get(given.pop("y"), default_y)
    return Selection(study, x, y, **given)
