"""Where the two readings of a claim differ. The second reader had not seen the first reading."""

from collections.abc import Iterable
from dataclasses import dataclass

from taxonomy.choices import Replicability, Scope
from taxonomy.models import Claim, SecondReading, Strategy

NO_STRATEGY = "no strategy"


@dataclass(frozen=True)
class Difference:
    """A question that the two readings answer differently, and both answers in words."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Reading:
    """What came of the second reading; `agrees` is None where scope was not read again."""

    agrees: bool | None
    differences: tuple[Difference, ...]
    doubt: str


def second_reading_of(claim: Claim) -> Reading | None:
    """Return how the second reading compares; None where the claim was read once."""
    second: SecondReading | None = getattr(claim, "second_reading", None)
    if second is None:
        return None
    asked = [_scope(claim, second), _strategies(claim, second)] if second.agrees is False else []
    differences = filter(None, [*asked, _testable(claim, second)])
    return Reading(second.agrees, tuple(differences), second.doubt)


def _scope(claim: Claim, second: SecondReading) -> Difference | None:
    if second.scope == claim.scope:
        return None
    return Difference("scope", claim.get_scope_display(), str(Scope(second.scope).label))


def _strategies(claim: Claim, second: SecondReading) -> Difference | None:
    first = [one.strategy for one in claim.attributions.all() if one.counted]
    other = list(second.strategies.all())
    if {one.pk for one in first} == {one.pk for one in other}:
        return None
    return Difference("strategies", _names(first), _names(other))


def _testable(claim: Claim, second: SecondReading) -> Difference | None:
    if not second.testable or second.testable == claim.testable:
        return None
    label = str(Replicability(second.testable).label)
    return Difference("what a small run could test", claim.get_testable_display(), label)


def _names(strategies: Iterable[Strategy]) -> str:
    return ", ".join(strategy.name for strategy in strategies) or NO_STRATEGY
