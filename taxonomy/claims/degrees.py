"""The four answers of a claim's certainty, and what came of it, as conditions of the database.

They say of all claims what `certainty_of` and `standing_of` say of one.
"""

from collections.abc import Collection

from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When

from taxonomy.choices import BaselineKind, DeviceNamed, Status
from taxonomy.claims.certainty import OWN_SOURCES, Degree
from taxonomy.claims.outcomes import CONCLUSIVE, standing_outcomes
from taxonomy.models import Outcome
from taxonomy.querysets import ClaimQuerySet

NOWHERE = Q(pk__in=[])


def answered(question: str, degree: Degree) -> Q:
    """Return the condition that claims answer the question to this degree.

    Whether they were tried asks for a column that only `with_degrees` gives them.
    """
    return QUESTIONS[question](degree)


def with_degrees(claims: ClaimQuerySet, question: str, degrees: Collection[str]) -> ClaimQuerySet:
    """Keep the claims whose answer to the question is one of these degrees."""
    condition = NOWHERE
    for degree in degrees:
        condition |= answered(question, Degree(degree))
    if question == "tried_here":
        claims = claims.alias(first_status=_first_status())
    return claims.filter(condition)


def with_standing(claims: ClaimQuerySet, statuses: Collection[str]) -> ClaimQuerySet:
    """Keep the claims for which an outcome of one of these statuses stands on some hardware.

    Those whose study has not run yet are "not run".
    """
    standing = _standing()
    condition = Q(Exists(standing.filter(status__in=statuses)))
    if Status.NOT_RUN in statuses:
        condition |= ~Q(study="") & ~Q(Exists(standing))
    return claims.filter(condition)


def _source_read(degree: Degree) -> Q:
    own, general = Q(source__in=OWN_SOURCES), Q(publication__from_general_knowledge=True)
    return {Degree.YES: own & ~general, Degree.PARTLY: own & general, Degree.NO: ~own}[degree]


def _baseline_named(degree: Degree) -> Q:
    unnamed = Q(baseline_kind__in=["", BaselineKind.UNNAMED])
    return {Degree.YES: ~unnamed, Degree.PARTLY: NOWHERE, Degree.NO: unnamed}[degree]


def _device_named(degree: Degree) -> Q:
    named = {
        Degree.YES: DeviceNamed.PRODUCT,
        Degree.PARTLY: DeviceNamed.KIND,
        Degree.NO: DeviceNamed.NONE,
    }
    return Q(device_named=named[degree])


def _tried_here(degree: Degree) -> Q:
    tried, other = Q(first_status__in=CONCLUSIVE), Q(first_status=Status.NOT_COMPARABLE)
    silent = Q(first_status=None) | Q(first_status=Status.NOT_RUN)
    return {Degree.YES: tried, Degree.PARTLY: other, Degree.NO: silent}[degree]


QUESTIONS = {
    "source_read": _source_read,
    "baseline_named": _baseline_named,
    "device_named": _device_named,
    "tried_here": _tried_here,
}


def _standing() -> QuerySet[Outcome]:
    ids = standing_outcomes().values("pk")
    return Outcome.objects.filter(claim=OuterRef("pk"), pk__in=ids)


def _first_status() -> Subquery:
    """Return the status of the outcome that stands first, as `standing_of` orders them."""
    silent = Case(When(status__in=CONCLUSIVE, then=Value(0)), default=Value(1))
    contributed = F("accepted").asc(nulls_first=True)
    ordered = _standing().order_by(silent, "-rank", contributed, "shipped", "-run")
    return Subquery(ordered.values("status")[:1])
