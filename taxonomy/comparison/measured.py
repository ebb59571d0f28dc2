"""What was measured of the items compared, as a section of the comparison."""

from collections.abc import Sequence

from taxonomy.comparison.selection import ItemKind
from taxonomy.comparison.table import Cell, Part, Row, Section
from taxonomy.measured import MeasuredStudy, StudyResult, studies_about

NOTE = "Each number names its run. Runs on other hardware or with other settings do not compare."
NOT_RUN = Cell((Part("not run"),))


def measured_section(kind: ItemKind, slugs: Sequence[str]) -> Section:
    """Return the section with a row for each study, or one that says that there is none."""
    studies = studies_about(kind.name, slugs)
    rows = tuple(_row(study, kind, slugs) for study in studies)
    nothing = Row("Measured results", (NOT_RUN,) * len(slugs), "No case study.")
    return Section("Measured by case studies", rows or (nothing,), NOTE if rows else "")


def _row(study: MeasuredStudy, kind: ItemKind, slugs: Sequence[str]) -> Row:
    found = _cell(study.result) if study.result else NOT_RUN
    other = Cell(missing=f"the study is not about this {kind.name}")
    return Row(study.title, tuple(found if slug in study.subjects else other for slug in slugs))


def _cell(result: StudyResult) -> Cell:
    run = Part(result.run, result.url, result.origin)
    caution = [Part(result.caution)] if result.caution else []
    return Cell((*map(Part, result.numbers), *caution, run))
