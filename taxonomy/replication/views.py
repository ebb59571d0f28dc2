"""The page of what was tried here, and its exports."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import csv_lines, json_parts, provenance, stream
from reviewapp.ui.listing import paginate
from taxonomy.claims.agreement import agreements
from taxonomy.claims.outcomes import Standing, standing_of
from taxonomy.measured import study_titles
from taxonomy.models import Claim
from taxonomy.queries import revisions
from taxonomy.replication.asked import Rows, read_asked
from taxonomy.replication.outcomes import Result, ledger, result_of
from taxonomy.replication.tally import numbers, replication


@dataclass(frozen=True)
class TriedClaim:
    """A claim in the list, with what came of it and its study, where this site has one."""

    standing: Standing
    study: str

    @property
    def claim(self) -> Claim:
        return self.standing.claim

    @property
    def second(self) -> str:
        """Return what the second reading says of testability, where it differs."""
        reading = getattr(self.claim, "second_reading", None)
        return reading.get_testable_display() if reading else ""


@require_safe
def replication_page(request: HttpRequest) -> HttpResponse:
    """Show what came of all claims, and a page of those that the address asks for."""
    state, findings = revisions()
    known, found = replication(state, findings), ledger(state, findings)
    asked, form = read_asked(request.GET, known)
    claims = asked.claims(found)
    page = paginate(request, Rows(claims, found), claims.count())
    titles = study_titles()
    context = {
        "known": known,
        "rules_known": numbers(state).rule_known,
        "results": list(Result),
        "titles": titles,
        "asked": asked,
        "form": form,
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
        "rows": [TriedClaim(standing_of(one), titles.get(one.study, "")) for one in page],
        "readings": agreements().testable,
    }
    return render(request, "taxonomy/replication.html", context)


HEADER = (
    "claim",
    "publication",
    "membership",
    "metric",
    "value",
    "unit",
    "qualifier",
    "scope",
    "strategies",
    "testable",
    "testable_second_reading",
    "study",
    "rule",
    "rule_written",
    "rule_before_outcome",
    "outcome",
    "reason",
    "conflicting",
    "run",
    "hardware_of_run",
)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def replication_export(request: HttpRequest, extension: str) -> HttpResponseBase:
    """Send every claim that the address asks for, in the order of the page."""
    states = revisions()
    found = ledger(*states)
    asked, _ = read_asked(request.GET, replication(*states))
    rows = _rows(Rows(asked.claims(found), found))
    about = provenance(request)
    if extension == "csv":
        return stream(csv_lines(HEADER, rows, about), "replication", extension)
    records = (dict(zip(HEADER, row, strict=True)) for row in rows)
    return stream(json_parts("claims", records, about), "replication", extension)


def _rows(claims: Iterable[Claim]) -> Iterator[list[Any]]:
    """Yield the values of each claim in the order of HEADER; nothing is None."""
    for claim in claims:
        standing = standing_of(claim)
        outcome = standing.outcome
        reading = getattr(claim, "second_reading", None)
        second = reading.testable if reading else None
        values = [
            claim.code,
            claim.publication.key,
            claim.publication.membership,
            claim.metric,
            claim.value,
            claim.unit,
            claim.qualifier,
            claim.scope,
            [link.strategy.slug for link in claim.attributions.all() if link.counted],
            claim.testable,
            second,
            claim.study,
            claim.rule,
            claim.rule_written.isoformat() if claim.rule_written else None,
            claim.rule_blind,
            result_of(standing).value,
            standing.reason,
            [f"{one.status} on {one.hardware}" for one in standing.conflicting],
            outcome.run if outcome else None,
            outcome.hardware if outcome else None,
        ]
        yield [None if value == "" else value for value in values]
