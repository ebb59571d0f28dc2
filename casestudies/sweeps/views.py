"""The page of a sweep, its list, and what may be done there: cancel what goes on, write a note."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from casestudies.lab.catalogue import STUDIES
from casestudies.models import Run, Sweep
from casestudies.permissions import may_manage
from casestudies.runs.annotating import NoteForm
from casestudies.runs.sweeping import cancel_all
from casestudies.sweeps.charts import charts
from casestudies.sweeps.reading import SweepNow, sweep_now
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.export import csv_lines, provenance, stream
from reviewapp.ui.listing import paginate

NOT_OWNER = "Only the person who started this sweep, or someone who looks after all, may do that."
NOT_SIGNED_IN = "Sign in first: only people with an account may do that."


class SweepFilterForm(forms.Form):
    """Which sweeps are listed."""

    study = forms.ChoiceField(
        required=False,
        choices=[("", "All studies"), *((study.slug, study.name) for study in STUDIES.values())],
        error_messages={"invalid_choice": "There is no study “%(value)s”."},
    )


@require_safe
def sweeps(request: HttpRequest) -> HttpResponse:
    """Show the sweeps, newest first."""
    form = SweepFilterForm(request.GET)
    study = cleaned_or_400(form)["study"]
    Run.objects.mark_lost()
    found = Sweep.objects.of_study(study) if study else Sweep.objects.all()
    page = paginate(request, found.with_progress(), found.count())
    context = {
        "form": form,
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
    }
    return render(request, "casestudies/sweeps.html", context)


@require_safe
@never_cache
def sweep(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the sweep: which parameter varies, its runs, and what they measured."""
    return _page(request, _found(pk))


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the end of all runs that go on or wait; 409 when all had ended already."""
    found = _found(pk)
    _only_who_manages(request, found)
    if not cancel_all(found):
        return _page(request, found, "There was nothing to cancel: all runs had ended.", 409)
    return redirect(found)


@require_POST
def note(request: HttpRequest, pk: int) -> HttpResponse:
    """Store the sweep's note."""
    found = _found(pk)
    _only_who_manages(request, found)
    form = NoteForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _page(request, found, status=400, form=form)
    Sweep.objects.filter(pk=found.pk).update(note=form.cleaned_data["note"])
    return redirect(found)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def measurements_csv(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Return what the runs with a result measured, each row with the value of its run."""
    now = sweep_now(_found(pk))
    names = [setting.name for setting in now.study.settings] if now.study else []
    header = ["sweep_id", "study", "preset", "parameter", "value", "run_id", "seed", "device"]
    header += ["hardware", "commit", "tags", "metric", "variant", *names]
    header += ["measured", "unit", "n", "spread"]
    lines = csv_lines(header, _cells(now, names), provenance(request))
    return stream(lines, f"sweep-{now.sweep.pk}-measurements", "csv")


def _cells(now: SweepNow, settings: list[str]) -> Iterator[list[Any]]:
    sweep = now.sweep
    for run in now.with_result:
        origin = [sweep.pk, sweep.study, sweep.preset, sweep.parameter, run.swept_value, run.pk]
        origin += [run.seed, run.device, run.hardware, run.commit, run.tags]
        for row in run.measurements.all():
            conditions = map(row.settings.get, settings)
            yield [
                *[*origin, row.metric, row.variant, *conditions],
                *[row.value, row.unit, row.n, row.spread],
            ]


def _found(pk: int) -> Sweep:
    return get_object_or_404(Sweep.objects.select_related("owner"), pk=pk)


def _only_who_manages(request: HttpRequest, sweep: Sweep) -> None:
    if not may_manage(request.user, sweep):
        raise PermissionDenied(NOT_OWNER if request.user.is_authenticated else NOT_SIGNED_IN)


def _page(
    request: HttpRequest,
    sweep: Sweep,
    problem: str = "",
    status: int = 200,
    form: NoteForm | None = None,
) -> HttpResponse:
    Run.objects.mark_lost()
    now = sweep_now(sweep)
    context = {
        "sweep": sweep,
        "now": now,
        "problem": problem,
        "charts": charts(now),
        "may_manage": may_manage(request.user, sweep),
        "form": form or NoteForm(initial={"note": sweep.note}, label_suffix=""),
    }
    return render(request, "casestudies/sweep.html", context, status=status)
