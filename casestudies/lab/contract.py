"""What a study declares, and how a run of it reports what it measures.

Nothing here imports PyTorch, so the site can read every declaration.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Event = dict[str, Any]
Status = Literal["supported", "not reproduced", "not comparable", "not run"]


class InvalidParameter(ValueError):
    """A parameter outside its schema; the message is one line that names it and its bounds."""


class Parameters(BaseModel):
    """Base of every study's parameters; its JSON schema draws the form and the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parameter(default: Any, help: str, *, unit: str = "", **bounds: Any) -> Any:
    """Return a field of `Parameters` whose schema carries its help, unit and bounds."""
    return Field(default, description=help, json_schema_extra={"unit": unit}, **bounds)


@dataclass(frozen=True)
class Preset:
    """Named parameters and about how many minutes they take on two CPU cores."""

    minutes: float
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One measured quantity. `how` is a sentence that says how it is measured."""

    name: str
    unit: str
    direction: Literal["lower is better", "higher is better", "neither"]
    how: str


@dataclass(frozen=True)
class Series:
    """A chart of one metric, one curve for each variant, over `x`."""

    name: str
    x: str
    x_unit: str
    metric: str


@dataclass(frozen=True)
class Comparison:
    """What the publication claims, beside the measurement that a reader would hold against it.

    `claim` is the claim's metric in the publication's record. `rule` says in a sentence when the
    claim counts as supported, or why it cannot be compared; then `supported` is None.
    """

    claim: str
    metric: str
    variant: str
    rule: str
    supported: Callable[[float], bool] | None = None

    def status(self, measured: float | None) -> Status:
        """Return how the claim stands beside `measured`, which is None if nothing was measured."""
        if self.supported is None:
            return "not comparable"
        if measured is None:
            return "not run"
        return "supported" if self.supported(measured) else "not reproduced"


@dataclass(frozen=True)
class Study:
    """One case study. `module` holds its `run`; it is imported only in the run's own process."""

    slug: str
    title: str
    summary: str
    publication: str
    strategies: tuple[str, ...]
    parameters: type[Parameters]
    presets: Mapping[str, Preset]
    metrics: tuple[Metric, ...]
    series: tuple[Series, ...]
    baselines: Mapping[str, str]
    comparisons: tuple[Comparison, ...]
    module: str

    def check(self, preset: str, given: Mapping[str, Any]) -> Parameters:
        """Return the preset's parameters with those of `given` in their place.

        Values may be strings, as a form or a command line has them. Raises InvalidParameter.
        """
        if preset not in self.presets:
            raise InvalidParameter(f"preset: {preset!r} is none of {', '.join(self.presets)}")
        try:
            return self.parameters(**{**self.presets[preset].values, **given})
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidParameter(self._explain(first)) from None

    def _explain(self, problem: Mapping[str, Any]) -> str:
        name = ".".join(map(str, problem["loc"])) or "parameters"
        known = self.parameters.model_json_schema()["properties"]
        if name not in known:
            return f"{name}: {problem['msg']}"
        return f"{name}: {problem['input']!r} is not valid; {bounds_of(known[name])}"


def bounds_of(schema: Mapping[str, Any]) -> str:
    """Return in words what one parameter's JSON schema allows: "number, 0 to 0.95, fraction"."""
    parts = [str(schema["type"])] if "type" in schema else []
    if "enum" in schema:
        parts = ["one of " + ", ".join(map(str, schema["enum"]))]
    if "minimum" in schema:
        parts.append(f"{schema['minimum']} to {schema['maximum']}")
    if "multipleOf" in schema:
        parts.append(f"a multiple of {schema['multipleOf']}")
    return ", ".join(part for part in [*parts, schema.get("unit", "")] if part)


@dataclass(frozen=True)
class Setup:
    """Where and on what a run measures: `device` is "cpu" or "cuda".

    Without a path the model is the bundled one and the text is Python's own reference.
    """

    device: str
    seed: int
    model: Path | None = None
    text: Path | None = None


@dataclass(frozen=True)
class Measurement:
    """The median of `n` values of one metric, and their interquartile range, None if n is 1."""

    metric: str
    variant: str
    value: float
    unit: str
    n: int
    spread: float | None


class Report:
    """Collects what one run measures and tells `emit` about each step as it happens."""

    def __init__(self, study: Study, emit: Callable[[Event], None]) -> None:
        self._units = {metric.name: metric.unit for metric in study.metrics}
        self._series = {series.name for series in study.series}
        self._emit = emit
        self.measurements: list[Measurement] = []
        self.points: dict[str, dict[str, list[tuple[float, float]]]] = {}
        self.sources: dict[str, dict[str, str]] = {}

    def progress(self, done: float, step: str) -> None:
        """Say that the fraction `done` of the run is finished and that `step` begins."""
        self._emit({"event": "progress", "done": round(done, 4), "step": step})

    def log(self, text: str) -> None:
        """Say something worth reading."""
        self._emit({"event": "log", "text": text})

    def source(self, kind: str, name: str, sha256: str) -> None:
        """Record a model or text that the run reads."""
        self.sources[kind] = {"name": name, "sha256": sha256}

    def measure(self, metric: str, variant: str, values: float | Iterable[float]) -> None:
        """Record one value, or the median and spread of several, of a metric of the study."""
        several = [values] if isinstance(values, int | float) else list(values)
        measurement = Measurement(
            metric=metric,
            variant=variant,
            value=statistics.median(several),
            unit=self._units[metric],
            n=len(several),
            spread=_interquartile_range(several) if len(several) > 1 else None,
        )
        self.measurements.append(measurement)
        self._emit({"event": "measurement", **asdict(measurement)})

    def point(self, series: str, variant: str, x: float, y: float) -> None:
        """Add a point to the curve of `variant` in a series of the study."""
        if series not in self._series:
            raise KeyError(series)
        self.points.setdefault(series, {}).setdefault(variant, []).append((x, y))
        self._emit({"event": "point", "series": series, "variant": variant, "x": x, "y": y})

    def document(self) -> dict[str, Any]:
        """Return the measurements and series in the form of the result's JSON."""
        return {
            "measurements": [asdict(measurement) for measurement in self.measurements],
            "series": [
                {"name": name, "variant": variant, "points": sorted(points)}
                for name, curves in self.points.items()
                for variant, points in curves.items()
            ],
        }


def _interquartile_range(values: list[float]) -> float:
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return third - first


class Run(Protocol):
    """The `run` of a study's module: measures into `report` and returns the verdict sentence."""

    def __call__(self, parameters: Any, setup: Setup, report: Report) -> str: ...
