"""What was measured of the items compared, as a section of the comparison."""

from collections.abc import Iterable, Sequence

from taxonomy.comparison.selection import KindName
from taxonomy.comparison.table import Cell, Part, Row, Section
from taxonomy.measured import MeasuredStudy, StudyResult, SubjectKind, studies_about

NOTE = "Each number names its run. Runs on other hardware or with other settings do not compare."
NOT_RUN = Part("not run")


def measured_sections(kind: KindName, slugs: Sequence[str]) -> Iterable[Section]:
    """Return the section: a row for each study of several items, one for those of a single item.

    No study is about what strategies belong to.
    """
    if kind in ("strategy", "publication"):
        yield _measured(kind, slugs)


def _measured(kind: SubjectKind, slugs: Sequence[str]) -> Section:
    studies = studies_about(kind, slugs)
    shared = [study for study in studies if len(study.subjects) > 1]
    single = [study for study in studies if len(study.subjects) == 1]
    rows = [_shared(study, kind, slugs) for study in shared]
    if single:
        rows.append(_single(single, kind, slugs))
    nothing = Row("Measured results", (Cell((NOT_RUN,)),) * len(slugs), "No case study.")
    return Section("Measured by case studies", tuple(rows) or (nothing,), NOTE if studies else "")


def _shared(study: MeasuredStudy, kind: SubjectKind, slugs: Sequence[str]) -> Row:
    found = Cell(_parts(study.result))
    other = Cell(missing=f"the study is not about this {kind}")
    return Row(study.title, tuple(found if slug in study.subjects else other for slug in slugs))


def _single(studies: Sequence[MeasuredStudy], kind: SubjectKind, slugs: Sequence[str]) -> Row:
    cells = []
    for slug in slugs:
        own = [study for study in studies if slug in study.subjects]
        parts = [
            part for study in own for part in (Part(study.title, study.url), *_parts(study.result))
        ]
        none = Cell(missing=f"no study of this {kind} alone")
        cells.append(Cell(tuple(parts)) if parts else none)
    return Row(f"Studies of one {kind}", tuple(cells))


def _parts(result: StudyResult | None) -> tuple[Part, ...]:
    if result is None:
        return (NOT_RUN,)
    caution = [Part(result.caution)] if result.caution else []
    run = Part(result.run, result.url, result.origin)
    return (*map(Part, result.numbers), *caution, run)
