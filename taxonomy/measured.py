"""The one way up: what taxonomy's pages ask of whatever measures, which stands above this room."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

SubjectKind = Literal["strategy", "publication"]


@dataclass(frozen=True)
class StudyResult:
    """The run that stands for a study: its name and address, its settings, what it found."""

    run: str
    url: str
    origin: str
    verdict: str
    numbers: tuple[str, ...]  # each with its metric, variant and unit
    is_only_a_test: bool  # of whether the study works, on too little to find anything


@dataclass(frozen=True)
class MeasuredStudy:
    """A case study, which of the slugs asked about it is about, and its result if there is one."""

    title: str
    url: str
    summary: str
    subjects: frozenset[str]
    result: StudyResult | None


class Measurer(Protocol):
    """What measures. Its methods take slugs of strategies, or keys of publications."""

    def latest(self, kind: SubjectKind, slugs: Collection[str]) -> Sequence[MeasuredStudy]:
        """Return the studies about any of them, each with its latest result."""

    def to_compare(self, kind: SubjectKind, slugs: Collection[str]) -> Sequence[MeasuredStudy]:
        """Return the same studies, each with the result to hold against other numbers."""


class _Nothing:
    """Stands in until something that measures is registered."""

    def latest(self, kind: SubjectKind, slugs: Collection[str]) -> Sequence[MeasuredStudy]:
        return ()

    to_compare = latest


_registered: list[Measurer] = [_Nothing()]


def register(measurer: Measurer) -> None:
    """Make this the one that measures; called once, when the site starts."""
    _registered[:] = [measurer]


def measurer() -> Measurer:
    """Return the one that measures."""
    return _registered[0]
