"""The claims that an address asks for, for the API and for files."""

from typing import Any

from django.db.models import Q
from django.db.models.functions import Coalesce
from django.http import QueryDict

from reviewapp.ui.errors import cleaned_or_400
from taxonomy.choices import DeviceRole
from taxonomy.claim_pages.form import ClaimForm
from taxonomy.claims.degrees import QUESTIONS, with_degrees, with_standing
from taxonomy.models import Claim, ClaimDevice, ClaimModel, Strategy
from taxonomy.publications.filter import read_filter
from taxonomy.publications.kinds import Facet
from taxonomy.querysets import NEWEST, ClaimQuerySet
from taxonomy.search.reading import read

SAME = {
    "publication": "publication__key",
    "quantity": "axis__quantity__slug",
    "objective": "objective",
    "phase": "phase",
    "scope": "scope",
    "baseline_kind": "baseline_kind",
    "testable": "testable",
    "study": "study",
    "attribution_confidence": "confidence",
}


def chosen_claims(data: QueryDict, facets: list[Facet]) -> ClaimQuerySet:
    """Return the claims, the best match of a search first, else the newest publication's.

    Raises InvalidForm for a value that cannot be.
    """
    form = ClaimForm(data, facets)
    given = cleaned_or_400(form)
    claims = read(given["q"]).claims() if given["q"] else Claim.objects.all()
    claims = claims.order_by(*(["-rank"] if given["q"] else []), *NEWEST)
    same = {f"{column}__in": given[key] for key, column in SAME.items() if given[key]}
    asked = {key: data.getlist(key) for key in form.of_publications}
    claims = _of_publications(claims.filter(**same), asked, facets)
    claims = _by_subject(_effects(claims, given), given)
    for question in QUESTIONS:
        if given[question]:
            claims = with_degrees(claims, question, given[question])
    return with_standing(claims, given["outcome"]) if given["outcome"] else claims


def _of_publications(
    claims: ClaimQuerySet, asked: dict[str, list[str]], facets: list[Facet]
) -> ClaimQuerySet:
    """Keep the claims that the list of publications would show, and those of its publications."""
    query = QueryDict(mutable=True)
    for key, values in asked.items():
        query.setlist(key, values)
    shown = read_filter(query, facets)
    if shown.of_claims:
        claims = claims.filter(pk__in=shown.claims().values("pk"))
    if not shown.active:
        return claims
    return claims.filter(publication__in=shown.publications().order_by().values("pk"))


def _effects(claims: ClaimQuerySet, given: dict[str, Any]) -> ClaimQuerySet:
    """Keep the effects of any of the strategies, and of any strategy of any of the families."""
    for column, key in (("slug", "strategy"), ("group__family__slug", "family")):
        if given[key]:
            wanted = Strategy.objects.filter(**{f"{column}__in": given[key]})
            claims = claims.effects_of(*wanted.values_list("pk", flat=True))
    return claims


def _by_subject(claims: ClaimQuerySet, given: dict[str, Any]) -> ClaimQuerySet:
    """Keep the claims that state such a device, with such memory, and name one such model."""
    if given["hardware"]:
        stated = ClaimDevice.objects.filter(role=DeviceRole.STATED)
        devices = stated.filter(name__icontains=given["hardware"])
        claims = claims.filter(pk__in=devices.values("claim"))
    memory = _within("device_gb", "device_gb", given["memory_at_least"], given["memory_at_most"])
    claims = claims.filter(memory)
    # Where only bounds of a model are known, they must lie within what is asked.
    least = Coalesce("parameters_billion", "at_least_billion")
    most = Coalesce("parameters_billion", "at_most_billion")
    sizes = _within("least", "most", given["model_at_least"], given["model_at_most"])
    if sizes:
        named = ClaimModel.objects.alias(least=least, most=most).filter(sizes)
        claims = claims.filter(pk__in=named.values("claim"))
    return claims


def _within(low: str, high: str, least: float | None, most: float | None) -> Q:
    """Return the condition that what lies from `low` to `high` is within these bounds."""
    condition = Q()
    if least is not None:
        condition &= Q(**{f"{low}__gte": least})
    if most is not None:
        condition &= Q(**{f"{high}__lte": most})
    return condition
