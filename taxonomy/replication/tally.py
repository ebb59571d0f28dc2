"""How many claims there are of each testability, strategy and study, and what came of them."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from reviewapp.corpus.choices import Membership
from taxonomy.choices import Replicability
from taxonomy.claims.kinds import counted_by, effects_by_strategy, kinds, studied_by_strategy
from taxonomy.models import Strategy
from taxonomy.replication.outcomes import TRIED, Result, ledger, result_of

ON_A_CPU = (Replicability.SAME_QUANTITY, Replicability.DIRECTION, Replicability.MODEL)
Key = TypeVar("Key", bound=Hashable)
ORDER = (*ON_A_CPU, Replicability.GPU_ONLY, Replicability.NO)


@dataclass(frozen=True)
class Tally:
    """Claims of one kind, and how many of them each result came of."""

    key: str
    label: str
    results: Mapping[Result, int]

    @property
    def claims(self) -> int:
        return sum(self.results.values())

    @property
    def tried(self) -> int:
        return sum(self.results[result] for result in TRIED)

    @property
    def parts(self) -> list[tuple[str, int, Result]]:
        """Return the results that occur, in the order of Result: key, number and result."""
        return [(one.key, self.results[one], one) for one in Result if self.results[one]]


@dataclass(frozen=True)
class Replication:
    """What came of all claims, by testability, strategy and study."""

    extensions: int
    by_testability: tuple[Tally, ...]
    by_strategy: tuple[Tally, ...]
    by_study: tuple[Tally, ...]

    @property
    def all(self) -> Tally:
        return _sum("all", "All claims", self.by_testability)

    @property
    def on_a_cpu(self) -> Tally:
        """Return the claims that a CPU could speak to, in whatever way."""
        return _sum("cpu", "On a CPU", (t for t in self.by_testability if t.key in ON_A_CPU))

    def testability(self, kind: str) -> Tally:
        return next(tally for tally in self.by_testability if tally.key == kind)

    @property
    def on_a_gpu(self) -> Tally:
        return self.testability(Replicability.GPU_ONLY)

    @property
    def never(self) -> Tally:
        return self.testability(Replicability.NO)

    @property
    def line(self) -> str:
        """Return the one line: what is supported, of what could be tried, of how many claims."""
        cpu = self.on_a_cpu
        supported = cpu.results[Result.SUPPORTED]
        return (
            f"{supported:,} supported of {cpu.claims:,} that a CPU could try,"
            f" of {self.all.claims:,} claims"
        )


def _sum(key: str, label: str, tallies: Iterable[Tally]) -> Tally:
    results: Counter[Result] = Counter()
    for tally in tallies:
        results.update(tally.results)
    return Tally(key, label, results)


@dataclass(frozen=True)
class Numbers:
    """How many claims there are by key, and whether a study speaks to them."""

    extensions: int
    testability: dict[tuple[str, bool], int]
    strategy: dict[tuple[int, bool], int]
    study: dict[str, int]
    strategies: tuple[tuple[int, str, str], ...]
    rule_known: int  # rules that were written with the outcome known


@lru_cache(maxsize=2)
def numbers(state: str) -> Numbers:
    """Return the numbers, remembered while `revision()` says `state`."""
    found = kinds(state)
    testability: Counter[tuple[str, bool]] = Counter()
    for kind in found:
        testability[kind.testable, bool(kind.study)] += kind.claims
    study = counted_by(found, "study")
    del study[""]
    studied = studied_by_strategy()
    strategy: dict[tuple[int, bool], int] = {}
    for pk, effects in effects_by_strategy(state).items():
        strategy[pk, True] = studied.get(pk, 0)
        strategy[pk, False] = sum(effects) - strategy[pk, True]
    return Numbers(
        extensions=counted_by(found, "membership")[Membership.EXTENSION],
        testability=dict(testability),
        strategy=strategy,
        study=dict(study),
        strategies=tuple(Strategy.objects.values_list("pk", "slug", "name")),
        rule_known=counted_by(found, "rule_blind")[False],
    )


@lru_cache(maxsize=2)
def replication(state: str, findings: str) -> Replication:
    """Return what came of all claims: the ledger's one by one, the others by their numbers.

    It is remembered under both revisions.
    """
    known, found = numbers(state), ledger(state, findings)
    by_testable: list[tuple[str, bool, Result]] = []
    by_strategy: list[tuple[int, bool, Result]] = []
    by_study: list[tuple[str, bool, Result]] = []
    for standing in found.standings:
        claim, result = standing.claim, result_of(standing)
        said = (bool(claim.study), result)
        by_testable.append((claim.testable, *said))
        by_study.append((claim.study, *said))
        by_strategy += [(a.strategy_id, *said) for a in claim.counted_attributions]  # type: ignore[attr-defined]
    testability = _results(known.testability, by_testable)
    strategy = _results(known.strategy, by_strategy)
    study = _results({(slug, True): n for slug, n in known.study.items()}, by_study)
    return Replication(
        known.extensions,
        tuple(Tally(kind, kind.label, testability.get(kind, Counter())) for kind in ORDER),
        tuple(
            Tally(slug, name, strategy[pk]) for pk, slug, name in known.strategies if pk in strategy
        ),
        tuple(Tally(slug, slug, study[slug]) for slug in sorted(known.study)),
    )


def _results(
    claims: Mapping[tuple[Key, bool], int], known: Iterable[tuple[Key, bool, Result]]
) -> dict[Key, Counter[Result]]:
    """Return the results by key: of the claims without an outcome, whether there is a study."""
    left, results = Counter(claims), dict[Key, Counter[Result]]()
    for key, has_study, result in known:
        left[key, has_study] -= 1
        results.setdefault(key, Counter())[result] += 1
    for (key, has_study), n in left.items():
        result = Result.NOT_RUN if has_study else Result.NO_STUDY
        results.setdefault(key, Counter())[result] += max(n, 0)
    return results
