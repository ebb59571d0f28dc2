"""Contributions: their list with the form that brings one in, and what may be done with each."""

from collections.abc import Callable

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from casestudies.contributions import keeping
from casestudies.contributions.forms import ImportForm
from casestudies.contributions.keeping import Brought
from casestudies.models import Contribution, Run
from casestudies.permissions import may_accept, may_contribute, may_undo
from casestudies.studies.results import for_list
from reviewapp.limits.pages import in_turn, limited
from reviewapp.ui.listing import paginate
from taxonomy.models import Outcome

IMPORTS_PER_MINUTE = 10
NOT_SIGNED_IN = "Sign in first: only people with an account may do that."
NOT_ALLOWED = "Your account may not do that. Ask whoever keeps this site for the permission."


@require_safe
@never_cache
def contributions(request: HttpRequest) -> HttpResponse:
    """Show the contributions, newest first, and the form to those who may bring one in."""
    return _list(request)


@require_POST
@limited(IMPORTS_PER_MINUTE)
@in_turn
def contribute(request: HttpRequest) -> HttpResponseBase:
    """Bring in the runs of a file: all of them or, where anything is wrong, none."""
    person = _only_if(may_contribute(request.user), request)
    form = ImportForm(request.POST, request.FILES, label_suffix="")
    if not form.is_valid():
        return _list(request, form, status=400)
    about = form.cleaned_data
    [brought] = keeping.bring_in([about["file"]], about["contributor"], about["note"], person)
    if brought.contribution is None:
        return _list(request, brought=brought)
    return _page(request, brought.contribution.pk, brought=brought)


@require_safe
@never_cache
def contribution(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a contribution: who brought it, whether it counts, its runs and what they say."""
    return _page(request, pk)


@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove the contribution with its runs, and nothing else."""
    found = get_object_or_404(Contribution, pk=pk)
    _only_if(may_undo(request.user, found), request)
    keeping.undo(found)
    return redirect("contributions")


@require_POST
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Let its runs decide what comes of claims; 409 where they do already."""
    return _decided(request, pk, keeping.accept, "It was accepted already.")


@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the acceptance back; 409 where there is none."""
    return _decided(request, pk, keeping.withdraw, "There was no acceptance to withdraw.")


def _decided(
    request: HttpRequest, pk: int, decide: Callable[[Contribution, User], bool], problem: str
) -> HttpResponse:
    found = get_object_or_404(Contribution, pk=pk)
    person = _only_if(may_accept(request.user), request)
    if not decide(found, person):
        return _page(request, pk, problem=problem, status=409)
    return redirect(found)


def _only_if(allowed: bool, request: HttpRequest) -> User:
    """Return who is signed in, if that person may; raise PermissionDenied."""
    if not allowed or not isinstance(request.user, User):
        raise PermissionDenied(NOT_ALLOWED if request.user.is_authenticated else NOT_SIGNED_IN)
    return request.user


def _list(
    request: HttpRequest,
    form: ImportForm | None = None,
    brought: Brought | None = None,
    status: int = 200,
) -> HttpResponse:
    found = Contribution.objects.with_people()
    page = paginate(request, found, Contribution.objects.count())
    initial = {"contributor": request.user.get_username()}
    context = {
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
        "may_contribute": may_contribute(request.user),
        "form": form or ImportForm(initial=initial, label_suffix=""),
        "brought": brought,
    }
    return render(request, "casestudies/contributions.html", context, status=status)


def _page(
    request: HttpRequest,
    pk: int,
    problem: str = "",
    status: int = 200,
    brought: Brought | None = None,
) -> HttpResponse:
    found = get_object_or_404(Contribution.objects.with_people(), pk=pk)
    runs = for_list(Run.objects.filter(contribution=found).order_by("pk"))
    page = paginate(request, runs, runs.count())
    said = Outcome.objects.filter(run__in=[run.pk for run in page])
    context = {
        "contribution": found,
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
        "outcomes": said.select_related("claim__publication").order_by("run", "claim"),
        "may_undo": may_undo(request.user, found),
        "may_accept": may_accept(request.user),
        "problem": problem,
        "brought": brought,
    }
    return render(request, "casestudies/contribution.html", context, status=status)
