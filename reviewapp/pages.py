"""Pages that need several rooms: home, about, health."""

import sys

from django.core.exceptions import BadRequest
from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.defaults import server_error as broken

from casestudies.models import Worker
from reviewapp import __version__
from reviewapp.corpus.choices import Grade
from reviewapp.corpus.citations.bibtex import review_bibtex
from reviewapp.corpus.models import FlowNumber, Publication, Review
from reviewapp.edge.unavailable import database_unavailable, unavailable
from reviewapp.rest import errors
from taxonomy.answers.answer import short_answer_to
from taxonomy.answers.overview import overview
from taxonomy.answers.question import FIRST_QUESTION, filled
from taxonomy.choices import Scope
from taxonomy.claims.agreement import agreements
from taxonomy.queries import revision, revisions
from taxonomy.replication.tally import replication

STRATEGIES_SHOWN = 6
SCOPE_WORDS = {
    Scope.ISOLATED: "one strategy alone",
    Scope.COMBINED: "several together, same system",
    Scope.AGAINST_ANOTHER: "whole systems compared",
    Scope.SYSTEM: "a system’s own figure",
    Scope.DESCRIPTIVE: "not an effect",
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Answer a practitioner's, an author's and a reader's first question, then say what is here."""
    review = Review.objects.shown().first()
    state, findings = revisions()
    if review is None:
        return render(request, "home.html")
    known = overview(state)
    context = {
        "review": review,
        "counts": Publication.objects.membership_counts(),
        "flow": {number.key: number for number in FlowNumber.objects.filter(review=review)},
        "answer": short_answer_to(FIRST_QUESTION, state),
        "form": filled(FIRST_QUESTION),
        "overview": known,
        "scope_words": SCOPE_WORDS,
        "leading": known.strategies[:STRATEGIES_SHOWN],
        "replication": replication(state, findings),
    }
    return render(request, "home.html", context)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """Show the method, the grades, the limits, the licences and how to cite."""
    review = get_object_or_404(
        Review.objects.prefetch_related(
            "databases", "tools", "criteria", "case_studies__publication"
        ).shown()
    )
    context = {
        "review": review,
        "counts": Publication.objects.membership_counts(),
        "grades": Grade.choices,
        "bibtex": review_bibtex(review),
        "overview": overview(revision()),
        "agreements": agreements(),
    }
    return render(request, "about.html", context)


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database answers and the review is loaded, else 503."""
    try:
        loaded, workers = Review.objects.exists(), Worker.objects.alive().count()
    except Error as error:
        status = {"database": f"unavailable: {type(error).__name__}"}
        return JsonResponse({"version": __version__, **status}, status=503)
    body = {
        "version": __version__,
        "database": "ok",
        "review": "loaded" if loaded else "not loaded",
        "workers": workers,
    }
    return JsonResponse(body, status=200 if loaded else 503)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say what was wrong with the request, when it is this project that says so.

    Django's own refusals may name internals, and keep a general text.
    """
    if request.path.startswith(errors.ADDRESSES):
        return errors.not_understood()
    reason = str(exception) if isinstance(exception, BadRequest) else ""
    return render(request, "400.html", {"exception": reason}, status=400)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Say that it is the database, where that failed outside of a view; else that it is us."""
    return unavailable() if database_unavailable(sys.exception()) else broken(request)
