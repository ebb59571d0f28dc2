"""Outcomes: what runs on this site found of claims. Whatever measures writes them here."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Prefetch, Q, QuerySet, prefetch_related_objects

from taxonomy.choices import Status
from taxonomy.models import Claim, Outcome

UNTRIED = "no study speaks to this"
NO_RUN = "no run yet"


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


def keep(
    run: int, study: str, hardware: str, findings: Iterable[Finding], rank: int = 0
) -> list[Outcome]:
    """Replace the outcomes of the run, in the caller's transaction, and return them.

    `hardware` is the class of hardware that the run was on; of several runs that speak to a claim,
    one of the highest `rank` stands for it. Claims that this site has not loaded
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
            rank=rank,
            status=finding.status,
            reason=finding.reason,
            numbers=[asdict(number) for number in finding.numbers],
            rule_written=claim.rule_written,
        )
        for claim in claims
        for finding in [by_code[claim.code]]
    )


@dataclass(frozen=True)
class Standing:
    """What came of a claim on this site; `outcome` is None where no run was judged by it."""

    claim: Claim
    outcome: Outcome | None

    @property
    def status(self) -> str:
        """Return one of five; empty where no study speaks to the claim."""
        if self.outcome:
            return self.outcome.status
        return Status.NOT_RUN if self.claim.study else ""

    @property
    def reason(self) -> str:
        """Return why there is no more to say; empty where the status says it all."""
        if self.outcome:
            return self.outcome.reason
        return NO_RUN if self.claim.study else UNTRIED

    @property
    def in_words(self) -> str:
        """Return the status with its reason: "not run: needs a GPU"."""
        return ": ".join(filter(None, (self.status, self.reason)))


def with_outcomes(claims: QuerySet[Any]) -> QuerySet[Any]:
    """Return the claims, each to be read with the outcome that stands for it by `standing_of`."""
    return claims.prefetch_related(_standing_outcomes())


def standing_of(claim: Claim) -> Standing:
    """Return what came of a claim that was read by `with_outcomes`."""
    return Standing(claim, next(iter(claim.standing_outcomes), None))  # type: ignore[attr-defined]


def standings(claims: Iterable[Claim]) -> list[Standing]:
    """Return what came of each of the claims, in one query."""
    found = list(claims)
    prefetch_related_objects(found, _standing_outcomes())
    return [standing_of(claim) for claim in found]


def _standing_outcomes() -> "Prefetch[Any]":
    """Return for each claim the latest outcome that says something, of the highest rank."""
    silent = Q(status=Status.NOT_RUN)
    outcomes = (
        Outcome.objects.alias(silent=silent)
        .order_by("claim_id", "silent", "-rank", "-run")
        .distinct("claim_id")
    )
    return Prefetch("outcomes", outcomes, to_attr="standing_outcomes")
