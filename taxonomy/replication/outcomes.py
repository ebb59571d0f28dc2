"""What can have come of a claim here, with the claims of each: few are tried, most are not."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from django.db.models import Prefetch, Q

from taxonomy.choices import Status
from taxonomy.claims.outcomes import Standing, standing_of, with_outcomes
from taxonomy.models import Attribution, Claim


class Result(StrEnum):
    """What came of a claim here: a status, or that runs disagree, or that nothing speaks to it."""

    SUPPORTED = Status.SUPPORTED.value
    DIRECTION_AGREES = Status.DIRECTION_AGREES.value
    NOT_REPRODUCED = Status.NOT_REPRODUCED.value
    CONFLICTING = "conflicting"
    NOT_COMPARABLE = Status.NOT_COMPARABLE.value
    NOT_RUN = Status.NOT_RUN.value
    NO_STUDY = "no study"

    @property
    def key(self) -> str:
        """Return it as the name of a class of style: "not-run"."""
        return self.value.replace(" ", "-")


TRIED = (Result.SUPPORTED, Result.DIRECTION_AGREES, Result.NOT_REPRODUCED, Result.CONFLICTING)


def result_of(standing: Standing) -> Result:
    """Return what came of the claim."""
    if standing.conflicting:
        return Result.CONFLICTING
    return Result(standing.status) if standing.status else Result.NO_STUDY


@dataclass(frozen=True)
class Ledger:
    """The claims of which a run here has an outcome; of all others it is known without reading."""

    standings: tuple[Standing, ...]

    def with_result(self, result: Result) -> list[int]:
        """Return the claims with an outcome, of this result."""
        return [s.claim.pk for s in self.standings if result_of(s) == result]

    def condition(self, result: Result) -> Q:
        """Return the condition on claims that this came of them."""
        found = Q(pk__in=self.with_result(result))
        others = ~Q(pk__in=[standing.claim.pk for standing in self.standings])
        if result == Result.NOT_RUN:
            return found | others & ~Q(study="")
        return found | others & Q(study="") if result == Result.NO_STUDY else found

    @property
    def order(self) -> list[int]:
        """Return the claims, those first that were judged by their rule."""
        return [
            standing.claim.pk
            for standing in sorted(
                self.standings,
                key=lambda s: (list(Result).index(result_of(s)), s.claim.code),
            )
        ]


@lru_cache(maxsize=2)
def ledger(_state: str, _findings: str) -> Ledger:
    """Return what came of claims, each with what it counts for, remembered under both revisions."""
    counted = Attribution.objects.filter(counted=True).only("claim", "strategy")
    read = (
        Claim.objects.tried()
        .select_related("publication")
        .prefetch_related(Prefetch("attributions", counted, to_attr="counted_attributions"))
        .only("position", "testable", "study", "publication__key")
    )
    return Ledger(tuple(map(standing_of, with_outcomes(read))))
