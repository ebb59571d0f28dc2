"""The page of a run, and what may be done there: cancel, run again, note, delete."""

from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from casestudies.lab.contract import InvalidParameter
from casestudies.models import Run
from casestudies.permissions import may_annotate, may_cancel, may_delete, may_start
from casestudies.run_command import command_line
from casestudies.runs import starting
from casestudies.runs.annotating import AnnotationForm, annotate
from casestudies.runs.charts import charts
from casestudies.runs.facts import environment, parameters
from casestudies.runs.watching import LINES_SHOWN, curves, last_lines, measured, moment_of, stages

NOT_SIGNED_IN = "Sign in first: only people with an account may do that."
NOT_RUNNER = "Your account may not start runs."
NOT_OWNER = "Only the person who started this run, or someone who looks after all, may do that."


@require_safe
@never_cache
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the run: how it stands, what it says, and its result."""
    return _page(request, pk)


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the end of the run; 409 when it had ended already."""
    found = get_object_or_404(Run, pk=pk)
    _only_if(may_cancel(request.user, found), request, NOT_OWNER)
    if not starting.cancel(found):
        return _page(request, pk, "There was nothing to cancel: the run had already ended.", 409)
    return redirect(found)


@require_POST
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Start a run with the same study, preset, parameters, seed and device."""
    found = get_object_or_404(Run, pk=pk)
    _only_if(may_start(request.user), request, NOT_RUNNER)
    study = found.definition
    if study is None:
        return _page(request, pk, "The study is no longer in the catalogue.", 409)
    try:
        new = starting.start(request.user, starting.Request.like(found, study))  # type: ignore[arg-type] # checked above
    except InvalidParameter as error:
        changed = "It cannot be run again as it was, since the study's parameters have changed"
        return _page(request, pk, f"{changed}: {error}.", 400)
    except starting.CannotStart as error:
        return _page(request, pk, str(error), error.status)
    return redirect(new)


@require_POST
def annotation(request: HttpRequest, pk: int) -> HttpResponse:
    """Store the run's note and tags."""
    found = get_object_or_404(Run, pk=pk)
    _only_if(may_annotate(request.user, found), request, NOT_OWNER)
    form = AnnotationForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _page(request, pk, status=400, form=form)
    annotate(found, **form.cleaned_data)
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask whether to delete the run and all that it measured, then do so; 409 while it goes on."""
    found = get_object_or_404(Run, pk=pk)
    if found.reference is not None:
        raise PermissionDenied("A reference run ships with the project and cannot be deleted.")
    _only_if(may_delete(request.user, found), request, NOT_OWNER)
    if not found.over:
        return _page(request, pk, "A run that has not ended cannot be deleted: cancel it.", 409)
    if request.method == "POST":
        _delete(found)
        return redirect("study", found.study) if found.definition else redirect("studies")
    return render(request, "casestudies/run_delete.html", {"run": found})


def _delete(run: Run) -> None:
    """Delete the run, and what it was part of if it was the last of it."""
    with transaction.atomic():
        whole = run.sweep or run.contribution
        run.delete()
        if whole and not whole.runs.exists():
            whole.delete()


def _only_if(allowed: bool, request: HttpRequest, reason: str) -> None:
    if not allowed:
        raise PermissionDenied(reason if request.user.is_authenticated else NOT_SIGNED_IN)


def _page(
    request: HttpRequest,
    pk: int,
    problem: str = "",
    status: int = 200,
    form: AnnotationForm | None = None,
) -> HttpResponse:
    moment = moment_of(pk)
    if moment is None:
        raise Http404
    run = moment.run
    # First of all, so that the live view goes on exactly where this page ends.
    last = run.events.aggregate(last=Max("id", default=0))["last"]
    rows = measured(run)
    context = {
        "moment": moment,
        "run": run,
        "study": run.definition,
        "problem": problem,
        "last": last,
        "stages": stages(moment),
        "lines": last_lines(run, last),
        "lines_shown": LINES_SHOWN,
        "measured": rows,
        "charts": charts(run, rows, curves(run)),
        "parameters": list(parameters(run)),
        "environment": list(environment(run)),
        "may_start": may_start(request.user),
        "may_cancel": may_cancel(request.user, run),
        "may_delete": may_delete(request.user, run),
        "may_annotate": may_annotate(request.user, run),
        "form": form or AnnotationForm.of(run),
        **_repeating(run),
    }
    return render(request, "casestudies/run.html", context, status=status)


def _repeating(run: Run) -> dict[str, str]:
    """Return the command that repeats the run, and the address where it can be changed first.

    Nothing when the study or its preset is not in the catalogue any more.
    """
    command = command_line(run)
    if command is None:
        return {}
    query = {"preset": run.preset, **run.changed, "seed": run.seed, "device": run.device}
    if run.model:
        query["model"] = run.model
    change = f"{reverse('study', args=[run.study])}?{urlencode(query)}#start"
    return {"command": command, "change": change}
