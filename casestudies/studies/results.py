"""What the runs of a study measured, and how claims of publications stand beside it.

Of a study's runs that succeeded one stands for it: the latest of the largest preset, one made on
this site before one that ships. A reference run of a GPU, which this site may not have, comes after
those, then a contributed run that was accepted, and the smoke preset, which finds nothing, last.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, F, Prefetch, Q, When
from django.utils.dateformat import format as format_date
from pydantic import ValidationError

from casestudies.choices import Device
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, FULL, QUICK, SMOKE, Answer, Study
from casestudies.models import Measurement, Run
from casestudies.querysets import RunQuerySet
from taxonomy.choices import Status
from taxonomy.claims.outcomes import NO_RUN, Standing, standings
from taxonomy.models import Claim, Outcome

RULE = (
    "Each claim has a dated rule, and one of five outcomes: supported,"
    " direction agrees, not reproduced, not comparable, not run. What stands here is the outcome of"
    " the latest run that speaks to the claim; runs made here come before those that ship with the"
    " site, and those before contributed ones, which count only once they are accepted; of either"
    " the preset claims, which does what the rules ask for, before others, and the smoke preset,"
    " which only tests that the study works, last."
)

STANDING = (
    *("study", "smoke", "contributed", "elsewhere", "-size", "shipped"),
    *("-finished", "-id"),
)  # which of a study's runs comes first
SIZES = (SMOKE, CLAIMS, QUICK, FULL)  # the claims preset leaves out what no rule asks for


@dataclass(frozen=True)
class AnsweredClaim:
    """A claim that the study answers, with the outcome that stands and its run, if any."""

    answer: Answer
    claim: Claim | None
    outcome: Outcome | None
    run: Run | None

    @property
    def status(self) -> str:
        return self.outcome.status if self.outcome else Status.NOT_RUN

    @property
    def reason(self) -> str:
        """Return why there is no more to say."""
        return self.outcome.reason if self.outcome else NO_RUN


def standing_results(studies: Collection[str]) -> dict[str, Run]:
    """Return the run that stands for each of the studies that has one, on the bundled model."""
    runs = (
        Run.objects.succeeded()
        .vouched_for()
        .filter(study__in=studies, model="")
        .alias(
            size=Case(*(When(preset=name, then=n) for n, name in enumerate(SIZES)), default=-1),
            shipped=Q(reference__isnull=False),
            contributed=Q(contribution__isnull=False),
            elsewhere=Q(reference__isnull=False, device=Device.CUDA),
            smoke=Q(preset=SMOKE),
        )
        .order_by(*STANDING)
        .distinct("study")
    )
    return {run.study: run for run in for_list(runs)}


def answered_claims(study: Study) -> list[AnsweredClaim]:
    """Return each claim that the study answers, with its standing outcome; three queries."""
    claims = Claim.objects.by_code([answer.claim for answer in study.answers])
    found = {s.claim.code: s for s in standings(claims.select_related("publication"))}
    wanted = [standing.outcome.run for standing in found.values() if standing.outcome]
    runs = Run.objects.select_related("contribution").defer("series").in_bulk(wanted)
    return [_answered(answer, found.get(answer.claim), runs) for answer in study.answers]


def _answered(answer: Answer, standing: Standing | None, runs: Mapping[int, Run]) -> AnsweredClaim:
    if standing is None:
        return AnsweredClaim(answer, None, None, None)
    outcome = standing.outcome
    return AnsweredClaim(
        answer, standing.claim, outcome, runs.get(outcome.run) if outcome else None
    )


def judge_by_new_rules() -> None:
    """Judge again the runs whose outcomes are missing, or by a rule of another date.

    What weighs otherwise than an older version had it is put right, too.
    """
    weigh_again(Run.objects.succeeded())
    for study in STUDIES.values():
        claims = Claim.objects.by_code([answer.claim for answer in study.answers]).count()
        judged = (
            Outcome.objects.filter(study=study.slug, rule_written=F("claim__rule_written"))
            .values("run")
            .annotate(n=Count("pk"))
            .filter(n=claims)
        )
        runs = Run.objects.succeeded().of_study(study.slug).exclude(pk__in=judged.values("run"))
        for run in runs:
            # One of a version whose form is no longer read keeps what it has.
            with suppress(ValidationError), transaction.atomic():
                run.keep_outcomes(run.result)


def weigh_again(runs: RunQuerySet[Run]) -> None:
    """Put right what the runs weigh in the outcomes that they have."""
    weighed: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    needed = ("study", "preset", "parameters", "reference", "model")
    for run in runs.select_related("contribution").only(*needed, "contribution"):
        weighed.setdefault(tuple(run.weight.items()), []).append(run.pk)
    for weight, keys in weighed.items():
        right = dict(weight)
        Outcome.objects.filter(run__in=keys).exclude(**right).update(**right)


def headline(run: Run) -> list[Measurement]:
    """Return the measurements that sum up a run read by `for_list`, as its study declares."""
    study = run.definition
    if study is None:
        return []
    rows: list[Measurement] = run.in_headlines  # type: ignore[attr-defined]
    return [row for one in study.headline if (row := one.among(rows))]


def for_list(runs: RunQuerySet[Run]) -> RunQuerySet[Run]:
    """Return the runs with what a line about each shows, in a constant number of queries.

    Of hundreds of measurements of a run few come along: those of the metrics and variants that
    some study's headline names.
    """
    named = [one for study in STUDIES.values() for one in study.headline]
    rows = Measurement.objects.filter(
        metric__in={one.metric for one in named}, variant__in={one.variant for one in named}
    )
    return (
        runs.select_related("owner", "contribution")
        .defer("series")
        .prefetch_related(Prefetch("measurements", rows, to_attr="in_headlines"))
    )


def settings_of(run: Run) -> str:
    """Return what the run was asked for: "quick preset with sparsity 0.6, curve off"."""
    words = f"{run.preset} preset"
    changed = [
        f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in run.changed.items()
    ]
    return f"{words} with {', '.join(changed)}" if changed else words


def origin(run: Run) -> str:
    """Return with what settings, on what hardware and when the run's numbers were measured.

    Of a contributed run it says whose it is, too.
    """
    when = format_date(run.finished, "j F Y") if run.finished else "not finished"
    whose = run.contribution.in_words if run.contribution else ""
    return "; ".join(part for part in (settings_of(run), run.hardware, when, whose) if part)


def _in_words(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
