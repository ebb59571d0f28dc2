"""Outcomes: what runs on this site found of claims. Whatever measures writes them here."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from taxonomy.choices import Status
from taxonomy.models import Claim, Outcome

UNTRIED = "no study speaks to this"


@dataclass(frozen=True)
class Quantity:
    """A number that a rule was applied to."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Finding:
    """What a run says of the claim with this code; `reason` says why it could not speak to it."""

    claim: str
    status: Status
    reason: str = ""
    numbers: tuple[Quantity, ...] = ()


def keep(run: int, study: str, hardware: str, findings: Iterable[Finding]) -> list[Outcome]:
    """Replace the outcomes of the run, in the caller's transaction, and return them.

    `hardware` is the class of hardware that the run was on. Claims that this site has not loaded
    are left out: a run must not fail because of them.
    """
    by_code = {finding.claim: finding for finding in findings}
    claims = Claim.objects.by_code(by_code).select_related("publication")
    Outcome.objects.filter(run=run).delete()
    return Outcome.objects.bulk_create(
        Outcome(
            claim=claim,
            run=run,
            study=study,
            hardware=hardware,
            status=finding.status,
            reason=finding.reason,
            numbers=[asdict(number) for number in finding.numbers],
            rule_written=claim.rule_written,
        )
        for claim in claims
        for finding in [by_code[claim.code]]
    )


def latest(claims: Iterable[Claim]) -> dict[int, Outcome]:
    """Return, by the claim's id, the outcome of the latest run of each claim that has one."""
    outcomes = Outcome.objects.filter(claim__in=[claim.pk for claim in claims])
    return {o.claim_id: o for o in outcomes.order_by("claim_id", "-run").distinct("claim_id")}


def in_words(outcome: Outcome | None) -> str:
    """Return the status with its reason: "not run: needs a GPU"; of no outcome, that none is."""
    if outcome is None:
        return UNTRIED
    status = outcome.get_status_display()
    return f"{status}: {outcome.reason}" if outcome.reason else status
