"""How well two readings of the same claims agree, where the second had not seen the first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from taxonomy.models import SecondReading


@dataclass(frozen=True)
class Agreement:
    """What two readings say alike of a question, and the readings that differ."""

    readings: int
    differing: Sequence[SecondReading]

    @property
    def alike(self) -> int:
        return self.readings - len(self.differing)


@dataclass(frozen=True)
class Agreements:
    """Both questions that were asked twice; `kappa` is Cohen's, of scope."""

    scope: Agreement
    testable: Agreement
    kappa: float | None


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of pairs of answers: agreement beyond what chance would give.

    None where it is not defined: without pairs, or where both readers give one answer throughout.
    """
    if not pairs:
        return None
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    total = len(pairs)
    observed = sum(a == b for a, b in pairs) / total
    chance = sum(first[answer] * second[answer] for answer in first) / total**2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def agreements() -> Agreements:
    """Return how the two readings agree, in one query."""
    readings = list(
        SecondReading.objects.select_related("claim__publication")
        .defer("claim__search", "claim__publication__search", "claim__publication__claims_text")
        .order_by("claim__publication__key", "claim__position")
    )
    scoped = [one for one in readings if one.scope]
    return Agreements(
        scope=Agreement(len(scoped), [one for one in scoped if one.scope != one.claim.scope]),
        testable=Agreement(len(scoped), [one for one in readings if one.testable]),
        kappa=kappa([(one.claim.scope, one.scope) for one in scoped]),
    )
