"""Outcomes: what runs on this site found of claims. Whatever measures writes them here."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Prefetch, Q, QuerySet, prefetch_related_objects

from taxonomy.choices import Status
from taxonomy.models import Claim, Outcome

UNTRIED = "no study speaks to this"
NO_RUN = "no run yet"
CONCLUSIVE = frozenset([Status.SUPPORTED, Status.DIRECTION_AGREES, Status.NOT_REPRODUCED])


@dataclass(frozen=True)
class Number:
    """A number that a rule was applied to.

    One is `claimed` where it is the claim's own quantity in the unit of its axis.
    """

    name: str
    value: float
    unit: str = ""
    claimed: bool = False


@dataclass(frozen=True)
class Finding:
    """What a run says of the claim with this code; `reason` says why it could not speak to it."""

    claim: str
    status: Status
    reason: str = ""
    numbers: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Judged:
    """The run that found something: on which class of hardware, and what it weighs.

    Of several runs on like hardware one of the highest `rank` stands for a claim. Only a run that
    `counts` does: one with changed parameters is listed and no more. `shipped` runs came with the
    project; of contributed ones `accepted` says whether somebody accepted them.
    """

    run: int
    study: str
    hardware: str
    rank: int = 0
    shipped: bool = False
    accepted: bool | None = None
    counts: bool = True


def keep(found: Iterable[tuple[Judged, Iterable[Finding]]]) -> list[Outcome]:
    """Replace the outcomes of these runs, in the caller's transaction, and return them.

    Claims that this site has not loaded are left out: a run must not fail because of them.
    """
    by_run = {judged: {one.claim: one for one in findings} for judged, findings in found}
    codes = {code for by_code in by_run.values() for code in by_code}
    claims = Claim.objects.by_code(codes).select_related("publication")
    Outcome.objects.filter(run__in=[judged.run for judged in by_run]).delete()
    return Outcome.objects.bulk_create(
        Outcome(
            claim=claim,
            **asdict(judged),
            status=finding.status,
            reason=finding.reason,
            numbers=[asdict(number) for number in finding.numbers],
            rule_written=claim.rule_written,
        )
        for judged, by_code in by_run.items()
        for claim in claims
        if (finding := by_code.get(claim.code))
    )


@dataclass(frozen=True)
class Standing:
    """What came of a claim on this site.

    `outcomes` has one for each class of hardware and each of where the run came from: made here,
    shipped with the project, or contributed and accepted. What was judged by the rule comes first,
    then what the rules ask for; none where no run was judged by it.
    """

    claim: Claim
    outcomes: Sequence[Outcome]

    @property
    def outcome(self) -> Outcome | None:
        """Return the outcome that comes first, or None."""
        return self.outcomes[0] if self.outcomes else None

    @property
    def conflicting(self) -> Sequence[Outcome]:
        """Return one outcome of each status, where runs say different things of the claim."""
        said = {o.status: o for o in reversed(self.outcomes) if o.status in CONCLUSIVE}
        return list(reversed(said.values())) if len(said) > 1 else []

    @property
    def status(self) -> str:
        """Return one of five; empty where no study speaks to the claim."""
        if self.outcome:
            return self.outcome.status
        return Status.NOT_RUN if self.claim.study else ""

    @property
    def is_tried(self) -> bool:
        """Whether a run has judged the claim by its rule."""
        return self.status in CONCLUSIVE

    @property
    def reason(self) -> str:
        """Return why there is no more to say; empty where the status says it all."""
        if self.outcome:
            return self.outcome.reason
        return NO_RUN if self.claim.study else UNTRIED

    @property
    def in_words(self) -> str:
        """Return the status with its reason: "not run: needs a GPU"; each where runs conflict."""
        if self.conflicting:
            return "; ".join(f"{one.status} on {one.hardware}" for one in self.conflicting)
        return ": ".join(filter(None, (self.status, self.reason)))


def with_outcomes(claims: QuerySet[Any]) -> QuerySet[Any]:
    """Return the claims, each to be read with what stands for it by `standing_of`."""
    return claims.prefetch_related(_prefetch())


def standing_of(claim: Claim) -> Standing:
    """Return what came of a claim that was read by `with_outcomes`."""
    found = sorted(
        claim.standing_outcomes,  # type: ignore[attr-defined]
        key=lambda o: (o.status not in CONCLUSIVE, -o.rank, bool(o.accepted), o.shipped, -o.run),
    )
    return Standing(claim, found)


def standings(claims: Iterable[Claim]) -> list[Standing]:
    """Return what came of each of the claims, in one query."""
    found = list(claims)
    prefetch_related_objects(found, _prefetch())
    return [standing_of(claim) for claim in found]


def standing_outcomes() -> QuerySet[Outcome]:
    """Return for each claim and class of hardware the latest outcome of the highest rank.

    One that says something comes before one that only says why it cannot.
    """
    silent = Q(status=Status.NOT_RUN)
    return (
        Outcome.objects.filter(counts=True)
        .alias(silent=silent)
        .order_by("claim_id", "hardware", "shipped", "accepted", "silent", "-rank", "-run")
        .distinct("claim_id", "hardware", "shipped", "accepted")
    )


def _prefetch() -> "Prefetch[Any]":
    return Prefetch("outcomes", standing_outcomes(), to_attr="standing_outcomes")
