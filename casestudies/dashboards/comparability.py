"""Which runs may share an axis: those that agree in all that a number depends on."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from casestudies.lab.contract import Study
from casestudies.models import Run
from taxonomy.choices import Origin

RULE = (
    "Runs share an axis only if they ran on the same hardware, with as many threads, in the same"
    " precision, with the same model and text (told apart by their SHA-256), and agree in every"
    " parameter of the workload, such as how much text is evaluated. They may differ in the method"
    " and in the effort, such as how often a measurement is repeated. Contributed runs, which this"
    " site did not measure, share an axis with each other only."
)


@dataclass(frozen=True)
class Source:
    """A model or a text; its content makes it, not its name."""

    sha256: str
    name: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:8]})" if self.sha256 else self.name

    @classmethod
    def of(cls, environment: Mapping[str, Any], kind: str) -> "Source":
        """Return the source of this kind that a run's environment names."""
        given = environment.get(kind) or {}
        return cls(str(given.get("sha256", "")), str(given.get("name", "none named")))


@dataclass(frozen=True)
class ComparableRuns:
    """What runs have in common that may be drawn on one axis."""

    hardware: str
    precision: str
    model: Source
    text: Source
    workload: tuple[tuple[str, Any], ...]
    contributed: bool = False

    @property
    def key(self) -> str:
        """Return the short name that addresses use."""
        content = [self.hardware, self.precision, self.model.sha256, self.text.sha256]
        content += ["contributed"] if self.contributed else []
        return hashlib.sha256(repr((tuple(content), self.workload)).encode()).hexdigest()[:10]

    @property
    def facts(self) -> dict[str, str]:
        """Return by name, in words, all that the runs agree in."""
        return {name: str(value) for name, value in self._values.items()}

    def differences(self, other: "ComparableRuns") -> list[str]:
        """Return the names of what keeps the two groups apart."""
        mine, theirs = self._values, other._values
        return [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]

    @property
    def _values(self) -> dict[str, Any]:
        return {
            "hardware": self.hardware or "not reported",
            "precision": self.precision,
            "model": self.model,
            "text": self.text,
            **({"measured by": "others, contributed"} if self.contributed else {}),
            **{name.replace("_", " "): value for name, value in self.workload},
        }


def group_of(run: Run, study: Study) -> ComparableRuns:
    """Return the group that a run of the study belongs to."""
    return ComparableRuns(
        run.hardware,
        str(run.environment.get("precision", "not reported")),
        Source.of(run.environment, "model"),
        Source.of(run.environment, "text"),
        tuple((name, run.parameters.get(name)) for name in study.with_role("workload")),
        contributed=run.origin == Origin.CONTRIBUTED,
    )


@dataclass(frozen=True)
class Member:
    """A run with the group that it belongs to and that group's number on the page."""

    run: Run
    group: ComparableRuns
    number: int


def grouped(runs: Iterable[Run]) -> dict[ComparableRuns, list[Member]]:
    """Return the runs by group, both in the order in which they come.

    Runs of a study that the catalogue no longer has are left out.
    """
    groups: dict[ComparableRuns, list[Member]] = {}
    for run in runs:
        if study := run.definition:
            group = group_of(run, study)
            members = groups.setdefault(group, [])
            number = members[0].number if members else len(groups)
            members.append(Member(run, group, number))
    return groups
