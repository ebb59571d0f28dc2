"""The one way up: what taxonomy's pages ask of whatever measures, which stands above this room."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

SubjectKind = Literal["strategy", "publication", "claim"]


@dataclass(frozen=True)
class StudyResult:
    """The run that stands for a study: its name and address, its settings, what it found."""

    run: str
    url: str
    origin: str
    verdict: str
    numbers: tuple[str, ...]  # each with its metric, variant and unit
    caution: str  # what to know before taking the numbers as findings


@dataclass(frozen=True)
class MeasuredStudy:
    """A case study, which of the slugs asked about it is about, and its result if there is one."""

    slug: str
    title: str
    url: str
    summary: str
    subjects: frozenset[str]
    result: StudyResult | None


# Return the studies about any of these strategies (slugs) or publications (keys), or that answer
# any of these claims (codes), each with the result that stands for it.
Measurer = Callable[[SubjectKind, Collection[str]], Sequence[MeasuredStudy]]
_registered: list[Measurer] = []
_titles: dict[str, str] = {}


def register(measurer: Measurer, titles: Mapping[str, str]) -> None:
    """Make this the one that measures, with its studies' titles by slug; called once, at start."""
    _registered[:] = [measurer]
    _titles.clear()
    _titles.update(titles)


def study_titles() -> Mapping[str, str]:
    """Return the title of every study that there is, by slug."""
    return _titles


def studies_about(kind: SubjectKind, slugs: Collection[str]) -> Sequence[MeasuredStudy]:
    """Return the studies about any of these; none where nothing that measures is registered."""
    return [study for measurer in _registered for study in measurer(kind, slugs)]
