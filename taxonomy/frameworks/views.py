"""The page of frameworks, libraries and systems, and its exports."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from reviewapp.corpus.choices import Membership
from reviewapp.corpus.models import Publication
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import csv_lines, json_parts, provenance, stream
from reviewapp.ui.listing import paginate
from taxonomy.frameworks.artifacts import BATCH, Artifact, artifacts, with_claims
from taxonomy.frameworks.asked import read_asked


@require_safe
def frameworks(request: HttpRequest) -> HttpResponse:
    """Show a page of the artifacts that the address asks for."""
    asked, form = read_asked(request.GET)
    found = asked.publications()
    counts = found.order_by().membership_counts()
    total = counts["counted"] + counts[Membership.EXTENSION]
    page = paginate(request, with_claims(found), total)
    context = {
        "form": form,
        "counts": counts,
        "total": total,
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
        "artifacts": list(artifacts(page)),
    }
    return render(request, "taxonomy/frameworks.html", context)


HEADER = (
    "artifact_name",
    "artifact_kind",
    "publication",
    "year",
    "membership",
    "classes",
    "strategies",
    "hardware_of_publication",
    "max_params_billion",
    "code_url",
    "claims",
    "claims_by_quantity",
    "best_by_quantity",
    "best_claims",
)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def frameworks_export(request: HttpRequest, extension: str) -> HttpResponseBase:
    """Send every artifact that the address asks for, in its order."""
    asked, _ = read_asked(request.GET)
    read: Iterable[Publication] = with_claims(asked.publications()).iterator(chunk_size=BATCH)
    found, about = artifacts(read), provenance(request)
    if extension == "csv":
        return stream(csv_lines(HEADER, map(_row, found), about), "frameworks", extension)
    return stream(json_parts("frameworks", _records(found), about), "frameworks", extension)


def _facts(artifact: Artifact) -> list[Any]:
    """Return what is said of an artifact besides its claims by quantity; nothing is None."""
    publication = artifact.publication
    return [
        publication.artifact_name,
        publication.artifact_kind,
        publication.key,
        publication.year,
        publication.membership,
        [one.slug for one in publication.classes.all()],
        [one.slug for one in publication.strategies.all()],
        publication.hardware,
        publication.max_params_billion,
        publication.code_url or None,
        artifact.claims,
    ]


def _row(artifact: Artifact) -> list[Any]:
    reported = artifact.reported
    return [
        *_facts(artifact),
        [f"{one.axis}: {len(one.claims)}" for one in reported],
        [f"{one.axis}: {one.best.as_stated}" for one in reported],
        [_code(artifact, one.best.position) for one in reported],
    ]


def _records(found: Iterable[Artifact]) -> Iterator[dict[str, Any]]:
    for artifact in found:
        facts = zip(HEADER, _facts(artifact), strict=False)  # the rest of HEADER is for a CSV
        yield {
            **dict(facts),
            "quantities": [
                {
                    "quantity": one.axis.quantity.slug,
                    "axis": str(one.axis),
                    "claims": len(one.claims),
                    "best": one.best.as_stated,
                    "best_claim": _code(artifact, one.best.position),
                }
                for one in artifact.reported
            ],
        }


def _code(artifact: Artifact, position: int) -> str:
    return f"{artifact.publication.key}-{position}"
