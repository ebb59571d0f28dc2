"""What the runs of a study measured, and what its publication reported of the same.

Of a study's runs one stands for it: the latest that succeeded, those made on this site before
the reference runs. Where numbers are held against others, the smoke preset comes last.
"""

from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Q
from django.utils.dateformat import format as format_date

from casestudies.lab.contract import Comparison, Status, Study
from casestudies.models import Measurement, Run
from casestudies.querysets import RunQuerySet
from taxonomy.models import Claim

SMOKE = "smoke"  # seconds long: shows that a study works, not what it finds
RULE = (
    "Beside each claim stands the latest run made here that succeeded; before there is one, the"
    " reference run that ships with the site. The smoke preset only tests that the study works,"
    " so its runs are shown where there is no other."
    " A claim is supported or not reproduced by the rule in its row, which is fixed before the run;"
    " it is not comparable where a small model on this hardware cannot speak about it."
)


@dataclass(frozen=True)
class Beside:
    """A claim of the publication beside what `run` measured; each None where there is none."""

    comparison: Comparison
    claim: Claim | None
    run: Run | None
    measured: Measurement | None
    status: Status


def latest_results(studies: Collection[str]) -> dict[str, Run]:
    """Return the latest run with a result of each of the studies that has one."""
    return _first_of_each(studies, "shipped")


def results_to_compare(studies: Collection[str]) -> dict[str, Run]:
    """Return the run whose numbers stand for each of the studies that has one."""
    return _first_of_each(studies, "smoke", "shipped")


def beside(study: Study, run: Run | None) -> list[Beside]:
    """Return each claim that the study compares with, beside what `run` measured of it."""
    found = {(m.metric, m.variant): m for m in run.measurements.all()} if run else {}
    claims = Claim.objects.filter(publication__key=study.publication)
    claimed = {claim.metric: claim for claim in claims.order_by("-position")}
    return [
        _beside(comparison, claimed.get(comparison.claim), run, found)
        for comparison in study.comparisons
    ]


def _beside(
    comparison: Comparison,
    claim: Claim | None,
    run: Run | None,
    found: dict[tuple[str, str], Measurement],
) -> Beside:
    measured = found.get((comparison.metric, comparison.variant))
    status = comparison.status(measured.value if measured else None)
    return Beside(
        comparison,
        claim,
        run if measured else None,
        measured,
        status if claim else "not comparable",
    )


def headline(run: Run) -> list[Measurement]:
    """Return the measurements that sum the run up: those that its study compares with claims.

    A study that compares nothing is summed up by its first metric, for each variant.
    """
    study = run.definition
    if study is None:
        return []
    found = {(m.metric, m.variant): m for m in run.measurements.all()}
    compared = dict.fromkeys((c.metric, c.variant) for c in study.comparisons)
    return [found[key] for key in compared if key in found] or [
        m for m in found.values() if m.metric == study.metrics[0].name
    ]


def for_list(runs: RunQuerySet[Run]) -> RunQuerySet[Run]:
    """Return the runs with what a line about each shows, in a constant number of queries."""
    return runs.select_related("owner").defer("series").prefetch_related("measurements")


def settings_of(run: Run) -> str:
    """Return what the run was asked for: "quick preset with sparsity 0.6, curve off"."""
    words = f"{run.preset} preset"
    changed = [
        f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in run.changed.items()
    ]
    return f"{words} with {', '.join(changed)}" if changed else words


def origin(run: Run) -> str:
    """Return with what settings, on what hardware and when the run's numbers were measured."""
    when = format_date(run.finished, "j F Y") if run.finished else "not finished"
    return "; ".join(part for part in (settings_of(run), run.hardware, when) if part)


def _in_words(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _first_of_each(studies: Collection[str], *last: str) -> dict[str, Run]:
    """Return the latest success of each study; where there is a choice, none that is of `last`."""
    runs = (
        Run.objects.succeeded()
        .filter(study__in=studies)
        .alias(smoke=Q(preset=SMOKE), shipped=Q(reference__isnull=False))
        .order_by("study", *last, "-finished", "-id")
        .distinct("study")
    )
    return {run.study: run for run in for_list(runs)}
