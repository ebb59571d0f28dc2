"""What all claims say together: by scope, by certainty, by strategy. Home and method show it."""

from dataclasses import dataclass
from functools import lru_cache

from django.db.models import Count, Exists, OuterRef, Q

from reviewapp.corpus.choices import Membership
from taxonomy.choices import BaselineKind, DeviceRole, Scope
from taxonomy.claims.certainty import OWN_SOURCES
from taxonomy.models import Attribution, Claim, ClaimDevice, Strategy

EFFECTS = (Scope.ISOLATED, Scope.COMBINED, Scope.AGAINST_ANOTHER)


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
    n = _numbers()
    return Overview(claims, n["extensions"], by_scope, *_extents(claims, n), _strategies())


def _numbers() -> dict[str, int]:
    """Return how many claims are of extensions, and how many answer what `certainty_of` asks."""
    stated = ClaimDevice.objects.filter(claim=OuterRef("pk"), role=DeviceRole.STATED)
    own = Q(source__in=OWN_SOURCES)
    doubtful = Q(publication__from_general_knowledge=True)
    return Claim.objects.aggregate(
        extensions=Count("pk", filter=Q(publication__membership=Membership.EXTENSION)),
        read=Count("pk", filter=own & ~doubtful),
        partly=Count("pk", filter=own & doubtful),
        baseline=Count("pk", filter=~Q(baseline_kind__in=["", BaselineKind.UNNAMED])),
        named=Count("pk", filter=Exists(stated.filter(is_product=True))),
        kind=Count("pk", filter=Exists(stated) & ~Exists(stated.filter(is_product=True))),
    )


def _extents(claims: int, n: dict[str, int]) -> tuple[Extent, Extent, Extent]:
    """Return how far the claims answer each question."""
    source = ("in its own words", "partly from general knowledge", "read elsewhere")
    return (
        Extent("Source read", n["read"], n["partly"], claims - n["read"] - n["partly"], source),
        Extent(
            "Baseline named", n["baseline"], 0, claims - n["baseline"], ("named", "", "not stated")
        ),
        Extent(
            "Device named",
            n["named"],
            n["kind"],
            claims - n["named"] - n["kind"],
            ("named", "kind only", "not stated"),
        ),
    )


def _strategies() -> tuple[StrategyEvidence, ...]:
    links = Attribution.objects.filter(counted=True).order_by()
    rows = links.values_list("strategy", "claim__scope").annotate(n=Count("pk"))
    numbers = {(strategy, scope): n for strategy, scope, n in rows}
    found = [
        StrategyEvidence(name, slug, tuple(numbers.get((pk, scope), 0) for scope in EFFECTS))
        for pk, name, slug in Strategy.objects.values_list("pk", "name", "slug")
    ]
    return tuple(sorted(found, key=lambda one: (-one.isolated, -one.claims, one.name)))
