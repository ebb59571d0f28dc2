"""What the case studies measured, for the pages of the taxonomy."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from django.urls import reverse

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.models import Run
from casestudies.studies.results import headline, origin, standing_results
from reviewapp.ui.units import rounded
from taxonomy.measured import MeasuredStudy, StudyResult, SubjectKind
from taxonomy.queries import findings_revision


def measured_studies(kind: SubjectKind, slugs: Collection[str]) -> Sequence[MeasuredStudy]:
    """Return the studies about any of these, each with the result that stands for it."""
    about = {slug: _subjects(study, kind) & {*slugs} for slug, study in STUDIES.items()}
    wanted = [slug for slug, subjects in about.items() if subjects]
    results = _results(findings_revision())
    return [
        MeasuredStudy(
            slug=slug,
            title=STUDIES[slug].title,
            url=reverse("study", args=[slug]),
            summary=STUDIES[slug].summary,
            subjects=about[slug],
            result=results.get(slug),
        )
        for slug in wanted
    ]


def _subjects(study: Study, kind: SubjectKind) -> frozenset[str]:
    match kind:
        case "strategy":
            return frozenset(study.strategies)
        case "publication":
            return frozenset(study.publications)
        case "claim":
            return frozenset(answer.claim for answer in study.answers)


@lru_cache(maxsize=2)
def _results(_findings: str) -> Mapping[str, StudyResult]:
    """Return what stands for each study, remembered while `findings_revision()` stays."""
    return {slug: _result(run) for slug, run in standing_results(list(STUDIES)).items()}


def _result(run: Run) -> StudyResult:
    return StudyResult(
        run=run.label,
        url=run.get_absolute_url(),
        origin=origin(run),
        verdict=run.verdict,
        numbers=tuple(
            f"{m.metric}, {m.label}: {rounded(m.value)} {m.unit}".rstrip() for m in headline(run)
        ),
        caution=run.caution,
    )
