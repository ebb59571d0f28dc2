"""How many claims there are of each kind: what home, method and replication count together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import Count, Sum

from taxonomy.choices import EFFECTS
from taxonomy.claims.certainty import Degree, baseline_named, device_named, source_read
from taxonomy.models import Attribution, Claim, PublicationEffect


@dataclass(frozen=True)
class Kind:
    """Claims that are alike in what is counted of them, and how many there are."""

    scope: str
    testable: str
    study: str
    rule_blind: bool | None
    source: str
    baseline_kind: str
    device: str
    membership: str
    from_general_knowledge: bool
    claims: int

    @property
    def source_read(self) -> Degree:
        return source_read(self.source, general=self.from_general_knowledge)

    @property
    def baseline_named(self) -> Degree:
        return baseline_named(self.baseline_kind)

    @property
    def device_named(self) -> Degree:
        return device_named(self.device)


@lru_cache(maxsize=2)
def kinds(state: str) -> tuple[Kind, ...]:
    """Return the kinds that occur, remembered while `revision()` says `state`.

    One query reads every claim, from an index that holds these columns. It groups by what they
    hold: by an expression made of them PostgreSQL would sort all claims.
    """
    rows = (
        Claim.objects.order_by()
        .values_list(
            "scope",
            "testable",
            "study",
            "rule_blind",
            "source",
            "baseline_kind",
            "device_named",
            "publication__membership",
            "publication__from_general_knowledge",
        )
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
