"""The cost model as a page: every equation with its symbols, its limits and where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from django.utils.text import capfirst, slugify

from casestudies.lab.equations import EQUATIONS, SUBJECTS
from casestudies.lab.equations.equation import Equation, Source, Symbol
from reviewapp.corpus.models import Publication


@dataclass(frozen=True)
class Cited:
    """Where an equation is published; `publication` is None where the corpus has it not."""

    source: Source
    publication: Publication | None


@dataclass(frozen=True)
class Shown:
    """What an equation says of itself; a template would call the equation."""

    name: str
    formula: str
    unit: str
    symbols: tuple[Symbol, ...]
    holds: str
    fails: str
    places: list[Cited]

    @property
    def slug(self) -> str:
        return slugify(self.name)


@dataclass(frozen=True)
class Chapter:
    """What a module of equations is about, and its equations."""

    name: str
    about: str
    equations: list[Shown]


def subjects() -> list[Chapter]:
    """Return all equations by subject; one query."""
    keys = {source.publication for equation in EQUATIONS for source in equation.sources}
    known = {
        p.key: p for p in Publication.objects.filter(key__in=keys).only("key", "artifact_name")
    }
    return [
        Chapter(
            capfirst(module.__name__.rpartition(".")[2].replace("_", " ")),
            (module.__doc__ or "").partition("\n")[0],
            [_shown(equation, known) for equation in _of(module)],
        )
        for module in SUBJECTS
    ]


def _of(module: ModuleType) -> list["Equation[...]"]:
    return [found for found in EQUATIONS if found.function.__module__ == module.__name__]


def _shown(equation: "Equation[...]", known: Mapping[str, Publication]) -> Shown:
    return Shown(
        equation.name,
        equation.formula,
        equation.unit,
        equation.symbols,
        equation.holds,
        equation.fails,
        [Cited(source, known.get(source.publication)) for source in equation.sources],
    )
