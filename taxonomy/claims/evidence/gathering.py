"""The claims attributed to a strategy, by what may stand together. All else here reads this."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from django.db.models import Case, Exists, OuterRef, Value, When

from reviewapp.corpus.choices import COUNTED, Membership
from taxonomy.choices import EFFECTS, AxisKind, Origin, RatioRule, RemarkKind, Scope
from taxonomy.claims.certainty import Certainty, Degree, certainty_of
from taxonomy.claims.marks import Mark, marks_of
from taxonomy.claims.outcomes import CONCLUSIVE, Standing, standing_of
from taxonomy.claims.reading import with_facts
from taxonomy.models import Attribution, Axis, Claim, Outcome

# Of more claims than these, the best supported are read.
MOST_READ = 200
MOST_DRAWN = 30


@dataclass(frozen=True)
class Measured:
    """What a run here measured of a claim, on its axis: of several numbers from `low` to `high`."""

    claim: Claim
    outcome: Outcome
    low: float
    high: float

    @property
    def scope(self) -> str:
        """Return in words who measured it."""
        here = self.outcome.origin != Origin.CONTRIBUTED
        return "measured here" if here else "contributed, not measured here"


@dataclass(frozen=True)
class Row:
    """A claim with how sure it is, what came of it here, and what was doubted of it.

    `others` are the strategies beside the page's own that it is an effect of too.
    """

    claim: Claim
    others: tuple[Attribution, ...]
    certainty: Certainty
    standing: Standing
    doubts: tuple[str, ...]
    measured: tuple[Measured, ...]

    @property
    def is_extension(self) -> bool:
        return bool(self.claim.publication.membership == Membership.EXTENSION)

    @property
    def is_ratio(self) -> bool:
        """Whether it has a factor that stands on an axis of factors."""
        return self.claim.axis.quantity.axis_kind == AxisKind.RATIO and (
            self.claim.plotted is not None
        )


@dataclass(frozen=True)
class Group:
    """The claims of one axis: isolated, combined, against another; of each the lowest first."""

    axis: Axis
    rows: tuple[Row, ...]

    @cached_property
    def marks(self) -> list[Mark]:
        return marks_of(row.claim for row in self.rows)

    @cached_property
    def measured(self) -> list[Measured]:
        return [one for row in self.rows for one in row.measured]

    @property
    def isolated(self) -> int:
        """Return how many of its claims isolate the strategy."""
        return sum(row.claim.scope == Scope.ISOLATED for row in self.rows)

    @property
    def is_panel(self) -> bool:
        """Whether there is something to compare: two marks, one of which may be measured here."""
        return len(self.marks) + len(self.measured) > 1


@dataclass(frozen=True)
class Evidence:
    """All that is claimed of a strategy; each claim stands in exactly one of the groups.

    `panels` are drawn. Not drawn are the axes with `single` factors, what has `ambiguous` ratios
    and what is `not_ratios`. `total` is the number of claims there are; of more than MOST_READ the
    best supported are read.
    """

    panels: tuple[Group, ...]
    single: tuple[Group, ...]
    ambiguous: tuple[Group, ...]
    not_ratios: tuple[Group, ...]
    total: int

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return all groups in the order of the table."""
        return self.panels + self.single + self.ambiguous + self.not_ratios

    @cached_property
    def rows(self) -> list[Row]:
        return [row for group in self.groups for row in group.rows]

    @property
    def left_out(self) -> int:
        return self.total - len(self.rows)

    @cached_property
    def scopes(self) -> Counter[str]:
        """Return the number of claims read by scope."""
        return Counter(row.claim.scope for row in self.rows)

    def of_scope(self, scope: str) -> list[Row]:
        return [row for row in self.rows if row.claim.scope == scope]

    @cached_property
    def drawn(self) -> int:
        """Return how many claims the chart draws."""
        return sum(len(mark.claims) for group in self.panels for mark in group.marks[:MOST_DRAWN])

    @property
    def undrawable(self) -> int:
        """Return how many claims have no single factor."""
        return sum(len(group.rows) for group in self.ambiguous + self.not_ratios)

    @cached_property
    def extension_claims(self) -> int:
        return sum(row.is_extension for row in self.rows)

    @cached_property
    def publications(self) -> int:
        """Return how many publications that the review counts make these claims."""
        return len({r.claim.publication_id for r in self.rows if not r.is_extension})

    @cached_property
    def extensions(self) -> int:
        return len({row.claim.publication_id for row in self.rows if row.is_extension})

    def degrees(self, question: str) -> Counter[Degree]:
        """Return how many claims answer the question ("source", "device") how far."""
        return Counter(getattr(row.certainty, question).degree for row in self.rows)


def evidence_of(strategy: int, among: Collection[int] | None = None) -> Evidence:
    """Return what is claimed of the strategy with this id, extensions too, which say so.

    With `among`, only these claims are looked at.
    """
    claims = Claim.objects.effects_of(strategy)
    if among is not None:
        claims = claims.filter(pk__in=among)
    total = claims.count()
    if not total:
        return Evidence((), (), (), (), 0)
    judged = Outcome.objects.filter(claim=OuterRef("pk"), counts=True, status__in=CONCLUSIVE)
    best = claims.order_by(
        Exists(judged).desc(),
        Case(*(When(scope=scope, then=Value(n)) for n, scope in enumerate(EFFECTS))),
        Case(When(publication__membership__in=COUNTED, then=Value(0)), default=Value(1)),
        "-publication__year",
        "publication__key",
        "position",
    )
    return _evidence([_row(claim, strategy) for claim in with_facts(best)[:MOST_READ]], total)


def _evidence(rows: list[Row], total: int) -> Evidence:
    ratios = _groups(row for row in rows if row.is_ratio)
    panels = [group for group in ratios if group.is_panel]
    panels.sort(key=lambda group: (-group.isolated, -len(group.rows)))
    rest = [row for row in rows if not row.is_ratio]
    unclear = [row for row in rest if row.claim.ratio_rule == RatioRule.AMBIGUOUS]
    others = [row for row in rest if row.claim.ratio_rule != RatioRule.AMBIGUOUS]
    return Evidence(
        panels=tuple(panels),
        single=tuple(group for group in ratios if not group.is_panel),
        ambiguous=tuple(_groups(unclear)),
        not_ratios=tuple(_groups(others)),
        total=total,
    )


def _groups(rows: Iterable[Row]) -> list[Group]:
    """Return the rows by axis, in the order of the quantities."""
    ordered = sorted(rows, key=_place)
    together = groupby(ordered, lambda row: row.claim.axis)
    return [Group(axis, tuple(of_axis)) for axis, of_axis in together]


def _place(row: Row) -> tuple[int, int, int, float, str]:
    claim, known = row.claim, {scope: n for n, scope in enumerate(EFFECTS)}
    place = known.get(Scope(claim.scope), len(known))
    return claim.axis.quantity.position, claim.axis_id, place, claim.plotted or 0, claim.code


def _row(claim: Claim, strategy: int) -> Row:
    standing = standing_of(claim)
    others = tuple(one for one in claim.attributions.all() if one.strategy_id != strategy)
    measured = tuple(_measured(claim, standing.outcomes))
    return Row(claim, others, certainty_of(claim), standing, tuple(_doubts(claim)), measured)


def _doubts(claim: Claim) -> Iterable[str]:
    """Yield the open doubts about a claim, and how a second reader saw it otherwise."""
    for remark in claim.remarks.all():
        if remark.kind == RemarkKind.DOUBT and not remark.settled:
            yield remark.text
    second = getattr(claim, "second_reading", None)
    if second and second.scope and second.scope != claim.scope:
        yield f"second reading: {second.get_scope_display()}"
    elif second and second.agrees is False:
        yield second.doubt or "a second reader saw it otherwise"


def _measured(claim: Claim, outcomes: Sequence[Outcome]) -> Iterable[Measured]:
    """Yield for each class of hardware the numbers that are the claim's own quantity."""
    seen: set[str] = set()
    for outcome in outcomes:
        values = [one["value"] for one in outcome.numbers if one.get("claimed")]
        if values and min(values) > 0 and outcome.hardware not in seen:
            seen.add(outcome.hardware)
            yield Measured(claim, outcome, min(values), max(values))
