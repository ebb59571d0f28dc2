"""The answer to a practitioner's question, with the counts that its first sentence says."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.db.models import Case, Count, F, Max, Min, Q, QuerySet, Value, When

from reviewapp.ui.units import number
from taxonomy.answers.question import OWN, Question
from taxonomy.answers.wording import counted, sentence
from taxonomy.choices import AxisKind, Phase, Qualifier, QuantityGroup, Scope, Status
from taxonomy.claims.outcomes import CONCLUSIVE, Standing, standing_of
from taxonomy.claims.reading import with_facts
from taxonomy.claims.words import in_words, listed
from taxonomy.measured import MeasuredStudy, studies_about
from taxonomy.models import Attribution, Claim, ClaimDevice
from taxonomy.querysets import ClaimQuerySet

MOST_SHOWN = 25
LEADING = 3
MOST_EFFECTS = 3
STRONGEST_FIRST = (
    Case(*(When(scope=scope, then=Value(n)) for n, scope in enumerate(Scope)), default=Value(9)),
    F("plotted").desc(nulls_last=True),
    "pk",
)

JUDGED = (*CONCLUSIVE, Status.NOT_COMPARABLE)
BEST = Max("plotted", filter=Q(qualifier=Qualifier.UP_TO))


@dataclass(frozen=True)
class Part:
    """Claims that a part of an answer is about: how many, and the strongest of them."""

    total: int
    claims: Sequence[int]

    @property
    def more(self) -> int:
        """Return how many are not shown."""
        return self.total - len(self.claims)


@dataclass(frozen=True)
class Effect:
    """What the claims of one axis of ratios range over."""

    quantity: str
    claims: int
    lowest: float
    highest: float
    best_case: bool  # the highest is the best case of several: "up to"

    @property
    def in_words(self) -> str:
        ends = [number(round(end, 2)) for end in (self.lowest, self.highest)]
        span = f"up to {ends[1]}" if self.best_case else " to ".join(dict.fromkeys(ends))
        return f"{span}\u202f× ({self.quantity.lower()}, {counted(self.claims, 'claim')})"


@dataclass(frozen=True)
class Counts:
    """What an answer counts, remembered while the taxonomy's revision stays the same."""

    fitting: Part
    elsewhere: Part  # about what is asked, on other devices or on none that is named
    unstated: int  # of those, the claims that have no device of their own
    unsized: int  # and those of whose models no size is known
    nearby: tuple[tuple[QuantityGroup, Part], ...]  # on such devices, about other quantities
    effects: tuple[Effect, ...]
    effects_of_fitting: tuple[Effect, ...]
    strategies: tuple[tuple[str, int], ...]  # attributed to, most claims first

    @property
    def reported(self) -> int:
        """Return how many claims are about what is asked, on any device."""
        return self.fitting.total + self.elsewhere.total


@dataclass(frozen=True)
class Answer:
    """An answer: what is said first, and the claims and measurements that it rests on."""

    question: Question
    counts: Counts
    fitting: list[Standing]
    elsewhere: list[Standing]
    nearby: list[tuple[QuantityGroup, Part, list[Standing]]]
    tried: list[Standing]
    not_run: int
    studies: Sequence[MeasuredStudy]

    @property
    def verdict(self) -> str:
        return verdict(self.question, self.counts)

    @property
    def more(self) -> str:
        return context_of(self.question, self.counts)


def verdict(question: Question, counts: Counts) -> str:
    """Return the first sentence: how many claims about it name such a device, of how many."""
    n, total = counts.fitting.total, counts.reported
    if not total:
        return f"No claim is about {question.subject}."
    about = f"about {question.subject}"
    device = question.device
    if total == 1:
        return f"The one claim {about} {'names or implies' if n else 'does not name'} {device}."
    none = "none of the" if total > 2 else "neither of the"
    who = {0: none, 1: "one of the", total: "all" if total > 2 else "both"}
    claims = "claims" if n == total == 2 else counted(total, "claim")
    verb = "names or implies" if n <= 1 else "name or imply"
    said = f"{who.get(n, f'{in_words(n)} of the')} {claims} {about} {verb} {device}"
    nowhere = ", or any device" if counts.unstated == total and not question.parameters else ""
    return sentence(said + nowhere)


def context_of(question: Question, counts: Counts) -> str:
    """Return what else the claims say: their size, their strategies; then what others report."""
    said = [*_sizes(counts)]
    every = [name.lower() for name, n in counts.strategies if n == counts.reported]
    if every:
        said.append(f"{'It' if counts.reported == 1 else 'Each'} is attributed to {listed(every)}.")
    if 0 < counts.unstated < counts.reported:
        said.append(sentence(f"{counted(counts.unstated, 'claim', 'names', 'name')} no device"))
    if question.parameters and counts.unsized:
        unsized = counted(counts.unsized, "claim", "does", "do")
        said.append(sentence(f"{unsized} not say how large the model is"))
    nearby = [f"{group.label.lower()} ({part.total})" for group, part in counts.nearby]
    total = sum(part.total for _, part in counts.nearby)
    others = "claim reports" if total <= 1 else "claims report"
    what = listed(nearby) if nearby else "anything else"
    where = f"{question.in_phase} on {question.devices}".strip()
    said.append(sentence(f"{where}, {in_words(total)} {others} {what}"))
    return " ".join(said)


def _sizes(counts: Counts) -> Iterator[str]:
    """Yield what the claims on such devices report, then what all of them do, if that is more."""
    n, total = counts.fitting.total, counts.reported
    they = "It reports" if total == 1 else "They report"
    if 0 < n < total:
        if counts.effects_of_fitting:
            those = "That one reports" if n == 1 else "These report"
            yield f"{those} {_reported(counts.effects_of_fitting)}."
        who = "Both" if total == 2 else f"All {in_words(total)}"
        they = f"{who} together report"
    if counts.effects:
        yield f"{they} {_reported(counts.effects)}."


def _reported(effects: Sequence[Effect]) -> str:
    """Return what claims report, with how many quantities more where not all are said."""
    said = [effect.in_words for effect in effects[:MOST_EFFECTS]]
    if rest := len(effects) - len(said):
        said.append(f"{in_words(rest)} more {'quantity' if rest == 1 else 'quantities'}")
    return listed(said)


def counts_of(question: Question, state: str) -> Counts:
    """Return the counts, remembered while `revision()` says `state`.

    23 GB finds what 16 GB does where no device has a memory between them, so there are no more
    answers to remember than sizes of devices and models.
    """
    devices = [size for size in _device_sizes(state) if size <= question.memory]
    parameters = question.parameters
    if parameters is not None:
        models = [size for size in _model_sizes(state) if size >= parameters]
        parameters = min(models, default=math.inf)
    memory = max(devices, default=0)
    return _counts(replace(question, memory=memory, parameters=parameters), state)


@lru_cache(maxsize=2)
def _device_sizes(state: str) -> tuple[float, ...]:
    sizes = ClaimDevice.objects.filter(role__in=OWN, memory_gb__isnull=False).order_by()
    return tuple(size for size in sizes.values_list("memory_gb", flat=True).distinct() if size)


@lru_cache(maxsize=2)
def _model_sizes(state: str) -> tuple[float, ...]:
    sizes = Claim.objects.filter(parameters_billion__isnull=False).order_by()
    return tuple(
        size for size in sizes.values_list("parameters_billion", flat=True).distinct() if size
    )


@lru_cache(maxsize=512)
def _counts(question: Question, state: str) -> Counts:
    claims, such = question.about_it(), question.on_such
    own = ClaimDevice.objects.filter(role__in=OWN)
    totals = claims.aggregate(
        all=Count("pk"),
        fitting=Count("pk", filter=such),
        unstated=Count("pk", filter=~Q(pk__in=own.values("claim"))),
        unsized=Count("pk", filter=Q(parameters_billion=None)),
    )
    links = Attribution.objects.filter(claim__in=claims, counted=True).order_by()
    return Counts(
        fitting=Part(totals["fitting"], _strongest(claims.filter(such))),
        elsewhere=Part(totals["all"] - totals["fitting"], _strongest(claims.exclude(such))),
        unstated=totals["unstated"],
        unsized=totals["unsized"],
        nearby=_nearby(question),
        effects=_effects(question, claims),
        effects_of_fitting=_effects(question, claims.filter(such)),
        strategies=tuple(_strategies(links)),
    )


def _strategies(links: QuerySet[Attribution]) -> list[tuple[str, int]]:
    rows = links.values_list("strategy__name").annotate(n=Count("pk"))
    return [(name, n) for name, n in rows.order_by("-n", "strategy__name")]


def _strongest(claims: ClaimQuerySet) -> tuple[int, ...]:
    return tuple(claims.order_by(*STRONGEST_FIRST).values_list("pk", flat=True)[:MOST_SHOWN])


def _nearby(question: Question) -> tuple[tuple[QuantityGroup, Part], ...]:
    """Return the claims on such devices about other quantities, by group."""
    found = question.in_this_phase().filter(question.on_such)
    others = found.exclude(axis__quantity__group=question.about)
    totals = dict(others.order_by().values_list("axis__quantity__group").annotate(n=Count("pk")))
    strongest: dict[str, list[int]] = {}
    rows = others.order_by(*STRONGEST_FIRST).values_list("pk", "axis__quantity__group")
    for pk, group in rows[:MOST_SHOWN]:
        strongest.setdefault(group, []).append(pk)
    return tuple(
        (group, Part(totals[group], tuple(strongest.get(group, ()))))
        for group in sorted(
            (QuantityGroup(value) for value in totals), key=lambda one: (-totals[one], one)
        )
    )


def _named(axis: dict[str, Any], question: Question) -> str:
    """Return the quantity of an axis, with its phase where the question is about any."""
    phase = axis["axis__phase"]
    is_said = bool(phase) and phase != Phase.NONE and question.phase is None
    in_phase = f" for {Phase(phase).label}" if is_said else ""
    return f"{axis['axis__quantity__name']}{in_phase}"


def _effects(question: Question, claims: ClaimQuerySet) -> tuple[Effect, ...]:
    """Return what the ratios of each axis range over; axes never share a range."""
    rows = (
        claims.filter(axis__quantity__axis_kind=AxisKind.RATIO, plotted__isnull=False)
        .order_by()
        .values("axis", "axis__quantity__name", "axis__phase")
        .annotate(n=Count("pk"), low=Min("plotted"), high=Max("plotted"), best=BEST)
        .order_by("-n", "axis")
    )
    return tuple(
        Effect(_named(r, question), r["n"], r["low"], r["high"], r["best"] == r["high"])
        for r in rows
    )


@dataclass(frozen=True)
class ShortAnswer:
    """What is said first, with the few claims that lead."""

    question: Question
    verdict: str
    more: str
    leading: list[Standing]


def short_answer_to(question: Question, state: str) -> ShortAnswer:
    """Return the answer in short, by the same counts."""
    counts = counts_of(question, state)
    wanted = [*counts.fitting.claims, *counts.elsewhere.claims][:LEADING]
    found = _standings(wanted)
    leading = [found[pk] for pk in wanted if pk in found]
    return ShortAnswer(question, verdict(question, counts), context_of(question, counts), leading)


def _standings(claims: Sequence[int]) -> dict[int, Standing]:
    read = with_facts(Claim.objects.filter(pk__in=claims))
    return {claim.pk: standing_of(claim) for claim in read}


def answer_to(question: Question, state: str) -> Answer:
    """Return the answer; outcomes and studies are read anew, the rest by the revision."""
    counts = counts_of(question, state)
    wanted = [*counts.fitting.claims, *counts.elsewhere.claims]
    wanted += [pk for _, part in counts.nearby for pk in part.claims]
    tried = question.about_it().tried(JUDGED).order_by(*STRONGEST_FIRST)[:MOST_SHOWN]
    tried_keys = list(tried.values_list("pk", flat=True))
    found = _standings([*wanted, *tried_keys])

    def shown(part: Sequence[int]) -> list[Standing]:
        return [found[pk] for pk in part if pk in found]

    return Answer(
        question,
        counts,
        fitting=shown(counts.fitting.claims),
        elsewhere=shown(counts.elsewhere.claims),
        nearby=[(group, part, shown(part.claims)) for group, part in counts.nearby],
        tried=shown(tried_keys),
        not_run=question.about_it().tried([Status.NOT_RUN]).exclude(pk__in=tried_keys).count(),
        studies=_studies(question),
    )


def _studies(question: Question) -> list[MeasuredStudy]:
    """Return the studies that claims about it name, each with the result that stands for it."""
    named = question.about_it().exclude(study="").order_by()
    pairs: list[Any] = list(named.values_list("publication__key", "study").distinct()[:200])
    slugs = {study for _, study in pairs}
    found = studies_about("publication", {key for key, _ in pairs})
    return [study for study in found if study.slug in slugs]
