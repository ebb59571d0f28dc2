"""What all claims say together: by scope, by certainty, by strategy. Home and method show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from django.db.models import Count

from reviewapp.corpus.choices import Membership
from taxonomy.choices import EFFECTS, Scope
from taxonomy.claims.certainty import Degree
from taxonomy.claims.degrees import answered
from taxonomy.models import Attribution, Claim, Strategy

# What is said of the claims that answer a question of certainty in full, in part, not.
QUESTIONS = {
    "source_read": (
        "Source read",
        ("in its own words", "partly from general knowledge", "read elsewhere"),
    ),
    "baseline_named": ("Baseline named", ("named", "", "not stated")),
    "device_named": ("Device named", ("named", "kind only", "not stated")),
}
DEGREES = (Degree.YES, Degree.PARTLY, Degree.NO)


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
    rows = Claim.objects.order_by().values_list("scope").annotate(n=Count("pk"))
    by_scope = dict(rows)
    claims = sum(by_scope.values())
    extensions = Claim.objects.filter(publication__membership=Membership.EXTENSION).count()
    source, baseline, device = _extents()
    return Overview(claims, extensions, by_scope, source, baseline, device, _strategies())


def _extents() -> Iterator[Extent]:
    """Yield how far the claims answer each question of certainty."""
    counts = Claim.objects.aggregate(
        **{
            f"{question}_{degree.value}": Count("pk", filter=answered(question, degree))
            for question in QUESTIONS
            for degree in DEGREES
        }
    )
    for question, (name, words) in QUESTIONS.items():
        yes, partly, no = (counts[f"{question}_{degree.value}"] for degree in DEGREES)
        yield Extent(name, yes, partly, no, words)


def _strategies() -> tuple[StrategyEvidence, ...]:
    links = Attribution.objects.filter(counted=True).order_by()
    rows = links.values_list("strategy", "claim__scope").annotate(n=Count("pk"))
    numbers = {(strategy, scope): n for strategy, scope, n in rows}
    found = [
        StrategyEvidence(name, slug, tuple(numbers.get((pk, scope), 0) for scope in EFFECTS))
        for pk, name, slug in Strategy.objects.values_list("pk", "name", "slug")
    ]
    return tuple(sorted(found, key=lambda one: (-one.isolated, -one.claims, one.name)))
