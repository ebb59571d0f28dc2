"""What all claims say together: by scope, by certainty, by strategy. Home and method show it."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from reviewapp.corpus.choices import Membership
from taxonomy.choices import EFFECTS, Scope
from taxonomy.claims.certainty import Degree
from taxonomy.claims.kinds import counted_by, effects_by_strategy, kinds
from taxonomy.models import Strategy

# What is said of the claims that answer a question of certainty in full, in part, not.
QUESTIONS = {
    "source_read": (
        "Source read",
        ("in its own words", "partly from general knowledge", "read elsewhere"),
    ),
    "baseline_named": ("Baseline named", ("named", "", "unnamed, or none needed")),
    "device_named": ("Device named", ("named", "kind only", "not stated")),
}


@dataclass(frozen=True)
class Extent:
    """How many claims answer one question of certainty: in full, in part, not."""

    question: str
    yes: int
    partly: int
    no: int
    words: tuple[str, str, str]

    @property
    def parts(self) -> list[tuple[str, int, str]]:
        """Return the degrees that occur, each with its number and words."""
        numbers = zip(("yes", "partly", "no"), (self.yes, self.partly, self.no), strict=True)
        named = zip(numbers, self.words, strict=True)
        return [(degree, n, words) for (degree, n), words in named if n]


@dataclass(frozen=True)
class StrategyEvidence:
    """How many claims are attributed to a strategy, by scope in the order of EFFECTS."""

    name: str
    slug: str
    numbers: tuple[int, ...]

    @property
    def isolated(self) -> int:
        return self.numbers[0]

    @property
    def claims(self) -> int:
        return sum(self.numbers)

    @property
    def parts(self) -> list[tuple[Scope, int]]:
        return list(zip(EFFECTS, self.numbers, strict=True))


@dataclass(frozen=True)
class Overview:
    """All claims, those of extensions included and counted beside."""

    claims: int
    extensions: int
    by_scope: dict[str, int]
    source: Extent
    baseline: Extent
    device: Extent
    strategies: tuple[StrategyEvidence, ...]  # with most isolated claims first

    @property
    def scopes(self) -> list[tuple[Scope, int]]:
        return [(scope, self.by_scope.get(scope, 0)) for scope in Scope]

    @property
    def extents(self) -> tuple[Extent, ...]:
        return self.source, self.baseline, self.device

    @property
    def with_isolated(self) -> int:
        """Return how many strategies some claim isolates."""
        return sum(1 for strategy in self.strategies if strategy.isolated)


@lru_cache(maxsize=2)
def overview(state: str) -> Overview:
    """Return the overview, remembered while `revision()` says `state`."""
    found = kinds(state)
    by_scope = counted_by(found, "scope")
    extensions = counted_by(found, "membership")[Membership.EXTENSION]
    source, baseline, device = (_extent(name, counted_by(found, name)) for name in QUESTIONS)
    strategies = _strategies(state)
    return Overview(
        by_scope.total(), extensions, dict(by_scope), source, baseline, device, strategies
    )


def _extent(question: str, counts: Counter[str]) -> Extent:
    name, words = QUESTIONS[question]
    yes, partly, no = (counts[degree.value] for degree in (Degree.YES, Degree.PARTLY, Degree.NO))
    return Extent(name, yes, partly, no, words)


def _strategies(state: str) -> tuple[StrategyEvidence, ...]:
    numbers, none = effects_by_strategy(state), (0,) * len(EFFECTS)
    found = [
        StrategyEvidence(name, slug, numbers.get(pk, none))
        for pk, name, slug in Strategy.objects.values_list("pk", "name", "slug")
    ]
    return tuple(sorted(found, key=lambda one: (-one.isolated, -one.claims, one.name)))
