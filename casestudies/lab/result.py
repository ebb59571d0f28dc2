"""What a run says: its events and its result, each in one form that is checked on arrival.

A worker reads these from another process, and reference runs from files, so nothing here trusts
its input: numbers are finite, texts have no characters that a database cannot hold, and sizes are
bounded.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

LONGEST_TEXT = 4_000
LARGEST_SEED = 2**63 - 1
MOST_MEASUREMENTS = 5_000
MOST_POINTS = 20_000  # of all curves together
MOST_INDEXED = 2_000  # bytes by which runs or values are told apart; an index holds 2,704 a row


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _check_indexed(text: str, said: str) -> None:
    """Raise ValueError where an index would not hold the text."""
    if (size := len(text.encode())) > MOST_INDEXED:
        raise ValueError(f"{said} take {size:,} bytes, more than {MOST_INDEXED:,}")


def _indexed(settings: dict[str, Any]) -> dict[str, Any]:
    _check_indexed(json.dumps(settings, ensure_ascii=False), "they")
    return settings


# No more than a database's number holds and a float can stand for.
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, AfterValidator(_without_nul), Field(max_length=200)]
Text = Annotated[str, AfterValidator(_without_nul), Field(max_length=LONGEST_TEXT)]
Scalar = bool | Integer | FiniteFloat | Name
Settings = Annotated[dict[Name, Scalar], Field(max_length=20), AfterValidator(_indexed)]
Parameters = Annotated[dict[Name, Scalar | None], Field(max_length=100)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class Form(BaseModel):
    """Base of all that a run says; a field that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _said(fields: dict[str, Any], *later: str) -> dict[str, Any]:
    """Leave out what is None of fields that came later: older results stay as they are."""
    return {name: fields[name] for name in fields if name not in later or fields[name] is not None}


class MeasuredValue(Form):
    """The median of `n` values of one metric of a variant, and their interquartile range.

    `settings` are the named conditions of the study under which it was measured; `spread` is None
    if `n` is 1.
    """

    metric: Name
    variant: Name
    settings: Settings = {}
    value: FiniteFloat
    unit: Name
    n: Count
    spread: NotNegative | None

    @property
    def key(self) -> tuple[str, str, frozenset[tuple[str, Any]]]:
        """Return what tells one measurement of a run from another."""
        return self.metric, self.variant, frozenset(self.settings.items())


class Curve(Form):
    """The points (x, y) of one variant in a series of the study."""

    name: Name
    variant: Name
    settings: Settings = {}
    points: list[tuple[FiniteFloat, FiniteFloat]]


class SourceFile(Form):
    """A model or a text that the run read; the licence is None where nobody said."""

    name: Name
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{0,64}$")]
    licence: Name | None = None

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _said(write(self), "licence")


class Gpu(Form):
    """A graphics processor; its clocks are those that were found when the run began."""

    name: Name
    memory_bytes: Bytes
    cuda: Name | None = None
    driver: Name | None = None
    clock_mhz: NotNegative | None = None
    memory_clock_mhz: NotNegative | None = None
    power_limit_watts: NotNegative | None = None

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _said(write(self), "clock_mhz", "memory_clock_mhz", "power_limit_watts")


class Energy(Form):
    """Joules that the machine's counters say it took during a run, all other work included."""

    gpu_joules: NotNegative | None = None
    processor_joules: NotNegative | None = None

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _said(write(self), "gpu_joules", "processor_joules")


class Environment(Form):
    """The machine, the versions and the sources that a measurement belongs to; unknown is None."""

    device: Literal["cpu", "cuda"]
    processor: Name | None = None
    instructions: Annotated[list[Name], Field(max_length=20)] | None = None
    cores: Count
    threads: Count
    memory_bytes: Bytes
    gpu: Gpu | None = None
    load: FiniteFloat | None = None
    system: Name | None = None
    python: Name
    libraries: Annotated[dict[Name, Name | None], Field(max_length=100)]
    commit: Name | None = None
    precision: Name | None = None
    model: SourceFile | None = None
    text: SourceFile | None = None
    tf32: bool | None = None
    energy: Energy | None = None

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _said(write(self), "instructions", "tf32", "energy")

    @model_validator(mode="after")
    def _bounded(self) -> "Environment":
        _check_indexed(self.hardware, "its processor and instructions")
        return self

    @property
    def hardware(self) -> str:
        """Return the few words by which runs on the same hardware are told from others."""
        if self.gpu:
            return self.gpu.name
        processor = self.processor or "unknown processor"
        if self.instructions:
            processor += f" ({', '.join(self.instructions)})"
        return f"{processor}, {self.cores} cores, {self.threads} threads"

    @property
    def hardware_class(self) -> str:
        """Return the kind of hardware: the GPU's name, or "2-core CPU"."""
        return self.gpu.name if self.gpu else f"{self.cores}-core CPU"


class NotMeasured(LookupError):
    """The result has no such measurement; the message says which."""


class Result(Form):
    """All that one run found, as `--json` writes it."""

    study: Name
    parameters: Parameters
    seed: Seed
    environment: Environment
    measurements: Annotated[list[MeasuredValue], Field(max_length=MOST_MEASUREMENTS)]
    series: Annotated[list[Curve], Field(max_length=1_000)]
    verdict: Text

    @model_validator(mode="after")
    def _bounded(self) -> "Result":
        keys = [measurement.key for measurement in self.measurements]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{twice[0]} of {twice[1]} stands twice")
        if sum(len(curve.points) for curve in self.series) > MOST_POINTS:
            raise ValueError(f"its curves have more than {MOST_POINTS} points")
        return self

    def number(self, parameter: str) -> float:
        """Return the number that a parameter was set to; raise NotMeasured where it was to none."""
        if isinstance(found := self.parameters.get(parameter), int | float):
            return found
        raise NotMeasured(f"{parameter} was {found}, no number")

    def whole(self, parameter: str) -> int:
        """Return the whole number that a parameter was set to, as `number` does."""
        return int(self.number(parameter))

    def value(self, metric: str, variant: str, **settings: Any) -> float:
        """Return the value of this metric, variant and settings; raise NotMeasured."""
        key = metric, variant, frozenset(settings.items())
        for measurement in self.measurements:
            if measurement.key == key:
                return measurement.value
        conditions = "".join(f", {name} {value}" for name, value in settings.items())
        raise NotMeasured(f"no {metric} of {variant}{conditions}")


class Started(Form):
    event: Literal["started"] = "started"
    study: Name
    parameters: Parameters
    seed: Seed
    environment: Environment


class Progress(Form):
    """How much of the run is done, in which of its stages, and what begins there now."""

    event: Literal["progress"] = "progress"
    done: Share
    stage: Text
    step: Text = ""


class Log(Form):
    event: Literal["log"] = "log"
    text: Annotated[str, AfterValidator(_without_nul)]


class MeasuredEvent(MeasuredValue):
    event: Literal["measurement"] = "measurement"


class CurvePoint(Form):
    """One point of a curve, as it is found."""

    event: Literal["point"] = "point"
    series: Name
    variant: Name
    settings: Settings = {}
    x: FiniteFloat
    y: FiniteFloat

    @property
    def key(self) -> tuple[str, str, frozenset[tuple[str, Any]]]:
        """Return what tells one curve of a run from another."""
        return self.series, self.variant, frozenset(self.settings.items())


def curves_of(points: Iterable[CurvePoint]) -> list[Curve]:
    """Return the curves that the points make, in the order of the first ones, each by its x."""
    found: dict[Any, list[CurvePoint]] = {}
    for point in points:
        found.setdefault(point.key, []).append(point)
    return [
        Curve(
            name=first.series,
            variant=first.variant,
            settings=first.settings,
            points=sorted((point.x, point.y) for point in [first, *others]),
        )
        for first, *others in found.values()
    ]


class Finished(Form):
    """The last event of a run that succeeded. The result is checked by `Study.read`."""

    event: Literal["result"] = "result"
    result: dict[str, Any]


class Failed(Form):
    """The last event of a run that failed."""

    event: Literal["failed"] = "failed"
    error: Annotated[str, AfterValidator(_without_nul)]


Event = Started | Progress | Log | MeasuredEvent | CurvePoint | Finished | Failed
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
