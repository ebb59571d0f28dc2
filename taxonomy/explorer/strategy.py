"""What the page of one strategy says, remembered until the evidence or an outcome changes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from django.db.models import Exists, OuterRef
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from reviewapp.corpus.models import Publication
from reviewapp.ui.bars import pieces
from taxonomy.choices import Replicability
from taxonomy.claims.certainty import Degree
from taxonomy.claims.evidence.gathering import Evidence, Row, evidence_of
from taxonomy.claims.evidence.plot import DotPlot, plot_of
from taxonomy.claims.evidence.sentence import Verdict, verdict_of
from taxonomy.claims.outcomes import NO_RUN
from taxonomy.explorer.cells import claims_behind
from taxonomy.explorer.chosen import AskedClaims
from taxonomy.models import Attribution, Strategy

MOST_RELATED = 12
MOST_NAMED = 12
# The four questions, with what each degree of an answer is called.
QUESTIONS = {
    "source": (
        "Source read",
        "in its publication",
        "partly from general knowledge",
        "by way of others",
    ),
    "baseline": ("Baseline named", "named", "", "none named"),
    "device": ("Device named", "named", "kind only", "not stated"),
    "tried": ("Tried here", "tried", "not comparable", "not tried"),
}
DEGREES = (Degree.YES, Degree.PARTLY, Degree.NO)


@dataclass(frozen=True)
class Part:
    """A part of a bar, in claims and in per cent of its width."""

    degree: str
    words: str
    claims: int
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    """How many claims answer one of the four questions how far."""

    question: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Section:
    """Claims of the table under one heading; `is_mixed` where each must name its quantity."""

    title: str
    details: str
    rows: Sequence[Row]
    is_mixed: bool = False


@dataclass(frozen=True)
class StudyCount:
    """What a study found of the strategy's claims, or why it found nothing: words and counts."""

    slug: str
    found: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class StrategyPage:
    """Everything that the page says of a strategy that no run's text is needed for."""

    strategy: Strategy
    evidence: Evidence
    verdict: Verdict
    plot: DotPlot | None
    filed: int
    silent: Sequence[Publication]
    more_silent: int
    together: Sequence[tuple[Strategy, int]]

    @cached_property
    def bars(self) -> list[Bar]:
        return [_bar(self.evidence, name) for name in QUESTIONS]

    @cached_property
    def studies(self) -> list[StudyCount]:
        return _studies(self.evidence)

    @cached_property
    def studied(self) -> set[str]:
        """Return the keys of the publications whose claims a study could speak to."""
        return {row.claim.publication.key for row in self.evidence.rows if row.claim.study}

    @cached_property
    def chances(self) -> Counter[str]:
        """Return how many claims were tried, could be on a CPU, need a GPU, or cannot be."""
        return Counter(_chance(row) for row in self.evidence.rows)

    @cached_property
    def chart_html(self) -> SafeString:
        return render_to_string("taxonomy/_strategy_chart.html", {"page": self})

    @cached_property
    def claims(self) -> "StrategyClaims":
        """Return the table of all claims."""
        return StrategyClaims(self.strategy, self.evidence)


@dataclass(frozen=True)
class StrategyClaims:
    """The table of a strategy's claims: of all, or of those behind a cell of the gap map."""

    strategy: Strategy
    evidence: Evidence

    @cached_property
    def sections(self) -> list[Section]:
        return _sections(self.evidence)

    @cached_property
    def html(self) -> SafeString:
        return render_to_string("taxonomy/_strategy_claims.html", {"claims": self})


@lru_cache(maxsize=64)
def strategy_page(strategy: Strategy, _state: str, _findings: str) -> StrategyPage:
    """Return what the page says, remembered while both revisions stay."""
    evidence = evidence_of(strategy.pk)
    publications = Publication.objects.filter(strategies=strategy).in_review()
    filed = publications.count()
    attributed = Attribution.objects.filter(
        strategy=strategy, counted=True, claim__publication=OuterRef("pk")
    )
    without = publications.filter(~Exists(attributed))
    silent = list(without.only("key", "artifact_name")[:MOST_NAMED])
    return StrategyPage(
        strategy=strategy,
        evidence=evidence,
        verdict=verdict_of(evidence, strategy.name, filed),
        plot=plot_of(evidence),
        filed=filed,
        silent=silent,
        more_silent=without.count() - len(silent),
        together=_together(evidence, strategy),
    )


@lru_cache(maxsize=64)
def claims_asked_for(
    strategy: Strategy, asked: AskedClaims, _state: str, _findings: str
) -> StrategyClaims:
    """Return the claims behind a cell of the gap map, or a row of it without an objective.

    It is remembered as `strategy_page` is.
    """
    among = claims_behind(strategy.pk, asked)
    return StrategyClaims(strategy, evidence_of(strategy.pk, among))


def _bar(evidence: Evidence, name: str) -> Bar:
    question, *words = QUESTIONS[name]
    counts, said = evidence.degrees(name), dict(zip(DEGREES, words, strict=True))
    drawn = [(Degree(one.kind), one) for one in pieces((d.value, counts[d]) for d in DEGREES)]
    return Bar(
        question,
        tuple(Part(d.value, said[d], counts[d], one.start, one.width) for d, one in drawn),
    )


def _sections(evidence: Evidence) -> list[Section]:
    """Return the table's headings with their claims: what is drawn first, panel by panel."""
    drawn = [
        Section(group.axis.quantity.name, ", ".join(group.axis.details), group.rows)
        for group in evidence.panels
    ]
    others = {
        "One claim each, so not drawn": evidence.single,
        "Ratios whose reading is open, so not drawn": evidence.ambiguous,
        "Not ratios, so not drawn": evidence.not_ratios,
    }
    return drawn + [
        Section(title, "", [row for group in groups for row in group.rows], is_mixed=True)
        for title, groups in others.items()
        if groups
    ]


def _studies(evidence: Evidence) -> list[StudyCount]:
    """Return the studies that the claims name, those that found most first."""
    found: dict[str, Counter[str]] = {}
    tried: Counter[str] = Counter()
    for row in evidence.rows:
        if slug := row.claim.study:
            found.setdefault(slug, Counter())[_said(row)] += 1
            tried[slug] += row.standing.is_tried
    slugs = sorted(found, key=lambda slug: (-tried[slug], -found[slug].total(), slug))
    return [StudyCount(slug, found[slug].most_common()) for slug in slugs]


def _said(row: Row) -> str:
    standing = row.standing
    if standing.conflicting:
        return "runs conflict"
    if standing.is_tried:
        return standing.status
    return "not tried yet" if standing.reason == NO_RUN else standing.reason or standing.status


def _chance(row: Row) -> str:
    if row.standing.is_tried:
        return "tried"
    if row.claim.testable == Replicability.GPU_ONLY:
        return "gpu"
    return "no" if row.claim.testable == Replicability.NO else "cpu"


def _together(evidence: Evidence, strategy: Strategy) -> list[tuple[Strategy, int]]:
    """Return the strategies that share most claims with this one, and how many they share."""
    shared = Counter(
        one.strategy
        for row in evidence.rows
        for one in row.claim.attributions.all()
        if one.counted and one.strategy_id != strategy.pk
    )
    return sorted(shared.items(), key=lambda item: (-item[1], item[0].name))[:MOST_RELATED]
