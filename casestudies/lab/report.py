"""How a run of a study reports what it measures, as it goes on and in the end."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from casestudies.lab import result
from casestudies.lab.contract import Setup, Study
from casestudies.lab.result import Curve, CurvePoint, Event, MeasuredValue, curves_of

UNITS_OF_A_SECOND = {"s": 1.0, "ms": 1000.0, "ms/token": 1000.0}  # by name


class Stage:
    """A named part of a run, which takes a share of it."""

    def __init__(self, report: "Report", name: str, begin: float, share: float) -> None:
        self._report, self._name = report, name
        self._begin, self._share = begin, share

    def at(self, done: float, step: str = "") -> None:
        """Say that the fraction `done` of the stage is finished and that `step` begins."""
        self._report.progress(self._begin + self._share * done, self._name, step)


class Report:
    """Collects what one run measures and tells `emit` about each step as it happens."""

    def __init__(self, study: Study, emit: Callable[[Event], None]) -> None:
        self._study, self._emit = study, emit
        self._begun = self._done = 0.0
        self.measurements: list[MeasuredValue] = []
        self.sources: dict[str, result.SourceFile] = {}
        self.precision: str | None = None
        self._points: list[CurvePoint] = []

    @contextmanager
    def stage(self, name: str, share: float) -> Iterator[Stage]:
        """Begin a part of the run that takes this share of it; parts follow each other."""
        begin, self._begun = self._begun, min(1.0, self._begun + share)
        stage = Stage(self, name, begin, self._begun - begin)
        stage.at(0)
        yield stage

    def progress(self, done: float, stage: str, step: str) -> None:
        """Say that the fraction `done` of the whole run is finished."""
        self._done = max(self._done, min(1.0, round(done, 4)))
        self._emit(result.Progress(done=self._done, stage=stage, step=step))

    def log(self, text: str) -> None:
        """Say something worth reading."""
        self._emit(result.Log(text=text))

    def source(self, kind: str, name: str, sha256: str) -> None:
        """Record a model or text that the run reads."""
        self.sources[kind] = result.SourceFile(name=name, sha256=sha256)

    def measure(
        self, metric: str, variant: str, values: float | Iterable[float], **settings: Any
    ) -> None:
        """Record one value, or the median and spread of several, of a metric of a variant.

        `settings` name the conditions. Raises KeyError for what the study does not declare.
        """
        several = [values] if isinstance(values, int | float) else list(values)
        measurement = MeasuredValue(
            metric=metric,
            variant=variant,
            settings=settings,
            value=statistics.median(several),
            unit=self._study.metric(metric).unit,
            n=len(several),
            spread=_interquartile_range(several) if len(several) > 1 else None,
        )
        self._study.check_measurement(measurement)
        self.measurements.append(measurement)
        self._emit(result.MeasuredEvent(**measurement.model_dump()))

    def measure_time(
        self, metric: str, variant: str, seconds: float | Iterable[float], **settings: Any
    ) -> None:
        """Record a time, or several, in the metric's unit; see `measure`.

        Raises KeyError for a metric that is no time, too.
        """
        several = [seconds] if isinstance(seconds, int | float) else seconds
        of_a_second = UNITS_OF_A_SECOND[self._study.metric(metric).unit]
        self.measure(metric, variant, [of_a_second * one for one in several], **settings)

    def measure_share(
        self, metric: str, variant: str, shares: float | Iterable[float], **settings: Any
    ) -> None:
        """Record a share of 1, or several, of a metric in percent; see `measure`.

        Raises ValueError for a metric in another unit.
        """
        if (unit := self._study.metric(metric).unit) != "%":
            raise ValueError(f"{metric} is in {unit or 'no unit'}, not in %")
        several = [shares] if isinstance(shares, int | float) else shares
        self.measure(metric, variant, [100 * one for one in several], **settings)

    def point(self, series: str, variant: str, x: float, y: float, **settings: Any) -> None:
        """Add a point to a variant's curve; raises KeyError for what is not declared."""
        self._study.check_curve(series, variant, settings)
        point = CurvePoint(series=series, variant=variant, settings=settings, x=x, y=y)
        self._points.append(point)
        self._emit(point)

    def curve(self, series: str, variant: str) -> list[tuple[float, float]]:
        """Return the points so far of a variant's curve without settings."""
        key = series, variant, frozenset[Any]()
        return [(point.x, point.y) for point in self._points if point.key == key]

    @property
    def curves(self) -> list[Curve]:
        """Return the curves so far, each in the order of x."""
        return curves_of(self._points)


def _interquartile_range(values: list[float]) -> float:
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return third - first


class StudyRun(Protocol):
    """The `run` of a study's module: measures into `report` and returns the verdict sentence."""

    def __call__(self, parameters: Any, setup: Setup, report: Report) -> str: ...
