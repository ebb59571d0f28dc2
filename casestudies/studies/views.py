"""The case studies: their list, and for each what it measures, a form to run it, its runs."""

from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from casestudies.choices import State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.equations import EQUATIONS
from casestudies.models import Run, Sweep
from casestudies.permissions import may_start
from casestudies.runs import starting, sweeping
from casestudies.runs.charts import declared_charts
from casestudies.runs.pivot import pivot
from casestudies.runs.watching import curves, measured
from casestudies.studies.catalogue_page import CatalogueForm, catalogue, named_publications
from casestudies.studies.equations import subjects
from casestudies.studies.forms import MOST_TAGS_SHOWN, HistoryForm, RunForm
from casestudies.studies.results import (
    RULE,
    answered_claims,
    for_list,
    standing_results,
)
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.listing import paginate
from taxonomy.models import Strategy

NEWEST_SWEEPS = 5


@require_safe
def studies(request: HttpRequest) -> HttpResponse:
    """Show the catalogue: by family which strategies run, each study with what it found."""
    Run.objects.mark_lost()
    form = CatalogueForm(request.GET)
    asked = cleaned_or_400(form)
    context = {
        "catalogue": catalogue(asked["q"], asked["of_class"]),
        "form": form,
        "asked": bool(asked["q"] or asked["of_class"]),
    }
    return render(request, "casestudies/studies.html", context)


@require_safe
def equations(request: HttpRequest) -> HttpResponse:
    """Show every equation of the cost model."""
    context = {"subjects": subjects(), "count": len(EQUATIONS)}
    return render(request, "casestudies/equations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def study(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one study, or start a run of it and go to the run."""
    if slug not in STUDIES:
        raise Http404(f"There is no case study “{slug}”.")
    if request.method == "POST":
        return _start(request, STUDIES[slug])
    if "sign-in" in request.GET and not request.user.is_authenticated:
        return _sign_in_first(request, RunForm(STUDIES[slug], request.GET))
    return _page(request, STUDIES[slug], RunForm.filled(STUDIES[slug], request.GET))


def _start(request: HttpRequest, study: Study) -> HttpResponse:
    person, form = request.user, RunForm(study, request.POST)
    if not isinstance(person, User):
        return _sign_in_first(request, form)
    if not may_start(person):
        raise PermissionDenied("Your account may not start runs. Ask whoever keeps this site.")
    if not form.is_valid():
        return _page(request, study, form, status=400)
    try:
        if form.sweep:
            return redirect(sweeping.start(person, form.sweep))
        return redirect(starting.start(person, form.request))
    except starting.CannotStart as error:
        form.add_error(None, str(error))
        return _page(request, study, form, status=error.status)


def _sign_in_first(request: HttpRequest, form: RunForm) -> HttpResponse:
    """Lead to the form for signing in, and from there back to this one as it was filled in."""
    return redirect_to_login(f"{request.path}?{urlencode(form.query)}#start")


def _page(request: HttpRequest, study: Study, form: RunForm, status: int = 200) -> HttpResponse:
    asked = cleaned_or_400(HistoryForm(request.GET))
    wanted, tag = asked["state"], asked["tag"]
    Run.objects.mark_lost()
    runs = Run.objects.of_study(study.slug)
    tags = runs.tag_counts()
    runs = runs.tagged(tag) if tag else runs
    counts = dict(runs.order_by().values_list("state").annotate(Count("pk")))
    total = counts.get(wanted, 0) if wanted else sum(counts.values())
    result = standing_results([study.slug]).get(study.slug)
    found = measured(result) if result else []
    sweeps = Sweep.objects.of_study(study.slug).with_progress()[: NEWEST_SWEEPS + 1]
    page = paginate(request, for_list(runs.filter(state=wanted) if wanted else runs), total)
    context = {
        "study": study,
        "publications": named_publications(study.publications),
        "strategies": Strategy.objects.filter(slug__in=study.strategies),
        "result": result,
        "charts": declared_charts(result, found, curves(result)) if result else [],
        "pivot": pivot(result, found) if result else None,
        "claims": answered_claims(study),
        "rule": RULE,
        "form": form,
        "may_start": may_start(request.user),
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
        "states": [(state.value, counts[state]) for state in State if state in counts],
        "state": wanted,
        "everything": sum(counts.values()),
        "tags": tags[:MOST_TAGS_SHOWN],
        "tag": tag,
        "sweeps": sweeps[:NEWEST_SWEEPS],
        "more_sweeps": len(sweeps) > NEWEST_SWEEPS,
    }
    return render(request, "casestudies/study.html", context, status=status)
