"""How many claims there are of each kind: what home, method and replication count together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import Case, Count, F, Sum, Value, When

from taxonomy.choices import EFFECTS
from taxonomy.claims.certainty import Degree
from taxonomy.claims.degrees import answered
from taxonomy.models import Attribution, Claim, PublicationEffect

# What certainty asks of a claim, but for what came of it here.
CERTAINTY = ("source_read", "baseline_named", "device_named")


@dataclass(frozen=True)
class Kind:
    """Claims that are alike in what is counted of them, and how many there are.

    The answers to the questions of certainty are values of `Degree`.
    """

    scope: str
    testable: str
    study: str
    rule_blind: bool | None
    membership: str
    source_read: str
    baseline_named: str
    device_named: str
    claims: int


@lru_cache(maxsize=2)
def kinds(state: str) -> tuple[Kind, ...]:
    """Return the kinds that occur, remembered while `revision()` says `state`.

    One query reads every claim, from an index that holds these columns.
    """
    columns = ("scope", "testable", "study", "rule_blind")
    degrees = {
        f"{question}_degree": Case(
            *(When(answered(question, degree), then=Value(degree.value)) for degree in Degree)
        )
        for question in CERTAINTY
    }
    rows = (
        Claim.objects.order_by()
        .annotate(membership=F("publication__membership"), **degrees)
        .values_list(*columns, "membership", *degrees)
        .annotate(n=Count("*"))
    )
    return tuple(Kind(*row) for row in rows)


def counted_by(found: Iterable[Kind], name: str) -> Counter[Any]:
    """Return how many claims there are by the value of a field of `Kind`."""
    counts: Counter[Any] = Counter()
    for kind in found:
        counts[getattr(kind, name)] += kind.claims
    return counts


@lru_cache(maxsize=2)
def effects_by_strategy(state: str) -> Mapping[int, tuple[int, ...]]:
    """Return how many claims count for each strategy id, by scope in the order of EFFECTS.

    Remembered as `kinds` are.
    """
    sums = [Sum(scope.name.lower()) for scope in EFFECTS]
    rows = PublicationEffect.objects.order_by().values("strategy").values_list("strategy", *sums)
    return {strategy: tuple(numbers) for strategy, *numbers in rows}


def studied_by_strategy() -> dict[int, int]:
    """Return how many of the claims that count for each strategy id a study speaks to."""
    links = Attribution.objects.filter(counted=True).exclude(claim__study="")
    return dict(links.order_by().values_list("strategy").annotate(n=Count("*")))
