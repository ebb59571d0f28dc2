"""What the case studies measured, as rows of the comparison page."""

from collections.abc import Iterable, Sequence

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.models import Run
from casestudies.studies.results import headline, origin, results_to_compare
from reviewapp.ui.units import rounded
from taxonomy.comparison.selection import STRATEGY, Kind
from taxonomy.comparison.table import Cell, Part, Row


def measured_rows(kind: Kind, slugs: Sequence[str]) -> Iterable[Row]:
    """Return a row for each study that is about one of the items: what it measured, or "not run".

    `slugs` are those of strategies, or the keys of publications, as `kind` says.
    """
    about = {slug: _subjects(study, kind) for slug, study in STUDIES.items()}
    wanted = [slug for slug, subjects in about.items() if subjects & set(slugs)]
    results = results_to_compare(wanted)
    for slug in wanted:
        measured = _cell(results.get(slug))
        other = Cell(missing=f"the study is not about this {kind.name}")
        cells = tuple(measured if item in about[slug] else other for item in slugs)
        yield Row(STUDIES[slug].title, cells)


def _subjects(study: Study, kind: Kind) -> set[str]:
    return set(study.strategies) if kind == STRATEGY else set(study.publications)


def _cell(run: Run | None) -> Cell:
    if run is None:
        return Cell((Part("not run"),))
    numbers = tuple(
        Part(f"{m.metric}, {m.label}: {rounded(m.value)} {m.unit}".rstrip()) for m in headline(run)
    )
    return Cell((*numbers, Part(run.label, run.get_absolute_url(), origin(run))))
