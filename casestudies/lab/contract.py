"""What a study declares.

Nothing here imports PyTorch, so the site can read every declaration. From it come the form, the
command line, the documentation, the charts, the comparison with claims and the tests.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from casestudies.lab.machine import Machine, Needs
from casestudies.lab.metrics import Metric
from casestudies.lab.result import MeasuredValue, NotMeasured, Result

SMOKE = "smoke"  # seconds: shows that the study works, not what it finds
QUICK = "quick"  # about 90 seconds on two CPU cores
CLAIMS = "claims"  # exactly what the rules of the claims ask for, at most 10 minutes
FULL = "full"  # as long as it needs
PRESETS = (SMOKE, QUICK, CLAIMS, FULL)

# A run executes the method; a replay computes events with costs that it measures; a model is a
# formula. What is not a run says so wherever its result is shown.
Kind = Literal["run", "replay", "model"]
KINDS: Mapping[Kind, str] = {
    "run": "",
    "replay": "computed by replay",
    "model": "computed by a formula",
}
VariantRole = Literal["baseline", "method", "control", "ablation"]
# The workload is what every variant is measured on: runs that differ in it do not compare. The
# method is what a reader changes to compare; more effort only makes a number surer.
ParameterRole = Literal["workload", "method", "effort"]
OutcomeStatus = Literal[
    "supported", "direction agrees", "not reproduced", "not comparable", "not run"
]


class InvalidParameter(ValueError):
    """A parameter outside its schema, or one that this machine cannot carry out, in one line."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class InvalidResult(ValueError):
    """What a run left is not a result of its study; the message is one line that says why."""


class Parameters(BaseModel):
    """Base of every study's parameters; its JSON schema draws the form and the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parameter(
    default: Any, help: str, *, role: ParameterRole, unit: str = "", **bounds: Any
) -> Any:
    """Return a field of `Parameters` whose schema carries its help, role, unit and bounds."""
    return Field(
        default, description=help, json_schema_extra={"unit": unit, "role": role}, **bounds
    )


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
class Preset:
    """Named parameters and about how many minutes they take on two CPU cores."""

    minutes: float
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One of the things that a study holds against each other."""

    name: str
    meaning: str
    role: VariantRole = "method"


@dataclass(frozen=True)
class Setting:
    """A condition under which a variant is measured more than once, such as a number of tokens.

    `one` is the unit of a single one where the word is another.
    """

    name: str
    meaning: str
    unit: str = ""
    one: str = ""

    def in_words(self, value: Any) -> str:
        """Return a value with its unit: "128 tokens"; a text alone, which speaks for itself."""
        if isinstance(value, str):
            return value
        unit = self.one if value == 1 and self.one else self.unit
        return f"{value} {unit}" if unit else f"{self.name} {value}"


@dataclass(frozen=True)
class Series:
    """Values of one metric over `x`, one curve for each variant and its settings."""

    name: str
    x: str
    x_unit: str
    metric: str


class Reported(Protocol):
    """A measurement, wherever it is kept."""

    @property
    def metric(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


Row = TypeVar("Row", bound=Reported)


@dataclass(frozen=True)
class Headline:
    """A number that sums a run up: a metric of a variant, and of several settings which."""

    metric: str
    variant: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def among(self, rows: Iterable[Row]) -> Row | None:
        """Return the row of these settings, else the last reported; None if nothing was."""
        own = [row for row in rows if (row.metric, row.variant) == (self.metric, self.variant)]
        exact = [row for row in own if row.settings == self.settings]
        found = exact[:1] or own[-1:]
        return found[0] if found else None


@dataclass(frozen=True)
class StudyChart:
    """One of the one to three charts that tell a study's result, and what to look for in it.

    "trade" draws each variant by two metrics, `x` and `y`; "bars" draws `y` of each variant;
    "curves" draws the series called `series`.
    """

    kind: Literal["trade", "bars", "curves"]
    look_for: str
    x: str = ""
    y: str = ""
    series: str = ""


@dataclass(frozen=True)
class Number:
    """A number that a judgement rests on.

    One is `claimed` where it is the very quantity of the claim, in the unit of the claim's axis, so
    that it may be drawn beside what was reported.
    """

    name: str
    value: float
    unit: str = ""
    claimed: bool = False


@dataclass(frozen=True)
class Judgement:
    """How a claim stands beside a run, the numbers that say so, and why where it cannot be said."""

    status: OutcomeStatus
    numbers: tuple[Number, ...] = ()
    reason: str = ""


def judged(*numbers: Number, supported: bool = False, agrees: bool = False) -> Judgement:
    """Return that the claim is supported, else that its direction agrees, else not reproduced."""
    if supported:
        return Judgement("supported", numbers)
    return Judgement("direction agrees" if agrees else "not reproduced", numbers)


def not_run(reason: str) -> Judgement:
    """Return that the run does not speak to the claim, and why."""
    return Judgement("not run", reason=reason)


@dataclass(frozen=True)
class Answer:
    """How a run of the study speaks to one claim of a publication.

    `claim` is the publication's key, a hyphen and the claim's position. `judge` implements the
    rule whose sentence stands with the claim in `fixtures/claims.yaml`; `rule` is the `rule_hash`
    of that sentence, so that a changed rule fails a test until `judge` was looked at. `judge` may
    let NotMeasured pass: then the run does not speak to the claim.
    """

    claim: str
    rule: str
    judge: Callable[[Result], Judgement]

    def judgement(self, result: Result) -> Judgement:
        """Return how the claim stands beside the result; a rule never costs a run its result."""
        try:
            found = self.judge(result)
            finite = all(math.isfinite(number.value) for number in found.numbers)
        except NotMeasured as error:
            return not_run(f"this run measured {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs the run nothing else
            # Of an older version, which had other parameters, or of numbers that are not sound.
            return not_run(f"its rule cannot be applied to this run: {error!r}")
        if finite:
            return found
        return not_run("its rule cannot be applied to this run: a number is not finite")


def rule_hash(sentence: str) -> str:
    """Return twelve characters that change when the sentence of a rule does, line breaks aside."""
    return hashlib.sha256(" ".join(sentence.split()).encode()).hexdigest()[:12]


def needs_nothing(parameters: Any) -> Needs:
    """Return what every machine has."""
    return Needs()


@dataclass(frozen=True, kw_only=True)
class Study:
    """One case study. Its algorithm lies beside it and is imported only in the run's own process.

    `name` is short, `subject` says in a few words what the study is about, `summary` what it does,
    `limits` what a machine like the reader's cannot show. `publications` are keys, the main one
    first. `headline` names the numbers that sum a run up. `accepts` says
    whether a reader may bring a model or a text of their own, `devices` on what it runs. `needs` is
    asked with the parameters. An `isolated` study measures its whole process, so that where several
    run in one it gets a process of its own. `gpu_only` names the metrics, variants and settings
    that only a GPU measures.
    """

    slug: str
    name: str
    subject: str
    summary: str
    limits: str
    publications: tuple[str, ...]
    strategies: tuple[str, ...]
    parameters: type[Parameters]
    presets: Mapping[str, Preset]
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    headline: tuple[Headline, ...]
    charts: tuple[StudyChart, ...]
    settings: tuple[Setting, ...] = ()
    series: tuple[Series, ...] = ()
    answers: tuple[Answer, ...] = ()
    kind: Kind = "run"
    accepts: tuple[Literal["model", "text"], ...] = ()
    devices: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")
    needs: Callable[[Any], Needs] = needs_nothing
    isolated: bool = False
    gpu_only: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself, so that no page has to notice."""
        for problem in self._problems():
            raise ValueError(f"study {self.slug}: {problem}")

    @property
    def full_name(self) -> str:
        """Return the name, which says so where a result is not of a run."""
        return f"{self.name} ({KINDS[self.kind]})" if KINDS[self.kind] else self.name

    @property
    def title(self) -> str:
        return f"{self.full_name}: {self.subject}"

    @property
    def module(self) -> str:
        """Return the module that holds the study's `run`."""
        return f"casestudies.lab.studies.{self.slug.replace('-', '_')}.study"

    @cached_property  # asked for once for each run on a page, and slow to make
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Return the JSON schema of each parameter."""
        schemas: dict[str, dict[str, Any]] = self.parameters.model_json_schema()["properties"]
        return schemas

    def metric(self, name: str) -> Metric:
        """Return the study's metric of this name; raise KeyError."""
        return {metric.name: metric for metric in self.metrics}[name]

    def label(self, variant: str, settings: Mapping[str, Any]) -> str:
        """Return the variant with its settings in words: "gptq, paper" or "int8, 128 MiB"."""
        return ", ".join(filter(None, (variant, self.conditions(settings))))

    def conditions(self, settings: Mapping[str, Any]) -> str:
        """Return settings in words, in the declared order: "paper" or "128 MiB"."""
        declared = (setting for setting in self.settings if setting.name in settings)
        return ", ".join(setting.in_words(settings[setting.name]) for setting in declared)

    def with_role(self, role: ParameterRole) -> list[str]:
        """Return the names of the parameters of a role."""
        return [name for name, schema in self.schemas.items() if schema["role"] == role]

    def check(self, preset: str, given: Mapping[str, Any], *, strict: bool = False) -> Parameters:
        """Return the preset's parameters with those of `given` in their place.

        Values may be strings, as a form or a command line has them, unless `strict`. Raises
        InvalidParameter.
        """
        if preset not in self.presets:
            names = ", ".join(self.presets)
            raise InvalidParameter("preset", f"{preset!r} is none of {names}")
        try:
            values = {**self.presets[preset].values, **given}
            return self.parameters.model_validate(values, strict=strict)
        except ValidationError as error:
            raise self._explained(error.errors()[0]) from None

    def check_device(self, device: str) -> None:
        """Raise InvalidParameter when the study does not run on such a device."""
        if device not in self.devices:
            runs_on = " and ".join(self.devices)
            raise InvalidParameter("device", f"{device} is not valid; this study runs on {runs_on}")

    def check_machine(self, parameters: Parameters, machine: Machine) -> None:
        """Raise InvalidParameter when the machine cannot carry the parameters out."""
        if lacking := self.needs(parameters).unmet(machine):
            raise InvalidParameter(self.slug, "; ".join(lacking))

    def read(self, document: Any) -> Result:
        """Return the document as a result of this study; raise InvalidResult.

        Metrics, variants, settings and series must be declared, and units be the metrics'.
        """
        try:
            result = Result.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise InvalidResult(f"{place}: {first['msg']}") from None
        if result.study != self.slug:
            raise InvalidResult(f"study: {result.study!r} where {self.slug!r} ran")
        try:
            for measurement in result.measurements:
                self.check_measurement(measurement)
            for curve in result.series:
                self.check_curve(curve.name, curve.variant, curve.settings)
        except KeyError as error:
            raise InvalidResult(str(error.args[0])) from None
        return result

    def check_measurement(self, measurement: MeasuredValue) -> None:
        """Raise KeyError for a metric, variant or setting that is not declared, or a wrong unit."""
        metric = next((m for m in self.metrics if m.name == measurement.metric), None)
        if metric is None or metric.unit != measurement.unit:
            raise KeyError(f"{measurement.metric!r} in {measurement.unit!r} is no metric of it")
        self._check_variant(measurement.variant, measurement.settings)

    def check_curve(self, series: str, variant: str, settings: Mapping[str, Any]) -> None:
        """Raise KeyError for a series, variant or setting that is not declared."""
        if series not in {declared.name for declared in self.series}:
            raise KeyError(f"{series!r} is no series of it")
        self._check_variant(variant, settings)

    def judge(self, result: Result) -> dict[str, Judgement]:
        """Return by claim how each claim that the study answers stands beside the result."""
        return {answer.claim: answer.judgement(result) for answer in self.answers}

    def _check_variant(self, variant: str, settings: Mapping[str, Any]) -> None:
        if variant not in {declared.name for declared in self.variants}:
            raise KeyError(f"{variant!r} is no variant of it")
        if unknown := set(settings) - {declared.name for declared in self.settings}:
            raise KeyError(f"{sorted(unknown)[0]!r} is no setting of it")

    def _explained(self, problem: Mapping[str, Any]) -> InvalidParameter:
        name = ".".join(map(str, problem["loc"])) or "parameters"
        if name not in self.schemas:
            return InvalidParameter(name, problem["msg"])
        if problem["type"] == "value_error":  # a study's own rule says what it asks for
            return InvalidParameter(name, str(problem["ctx"]["error"]))
        bounds = bounds_of(self.schemas[name])
        return InvalidParameter(name, f"{problem['input']!r} is not valid; {bounds}")

    def _problems(self) -> Iterable[str]:
        variants = [variant.name for variant in self.variants]
        metrics = [metric.name for metric in self.metrics]
        series = [declared.name for declared in self.series]
        settings = [setting.name for setting in self.settings]
        for names in (variants, metrics, series, settings, [a.claim for a in self.answers]):
            if len(set(names)) < len(names):
                yield f"a name stands twice among {', '.join(names)}"
        if not {SMOKE, QUICK} <= set(self.presets) <= set(PRESETS):
            yield f"presets must be of {', '.join(PRESETS)}, with {SMOKE} and {QUICK}"
        if self.answers and CLAIMS not in self.presets:
            yield f"a study that answers claims needs the preset {CLAIMS}"
        charted = [name for chart in self.charts for name in (chart.x, chart.y) if name]
        charted += [one.metric for one in self.headline] + [s.metric for s in self.series]
        yield from (f"{name!r} is no metric of it" for name in charted if name not in metrics)
        drawn = [chart.series for chart in self.charts if chart.series]
        yield from (f"{name!r} is no series of it" for name in drawn if name not in series)
        shown = [one.variant for one in self.headline]
        yield from (f"{name!r} is no variant of it" for name in shown if name not in variants)
        declared = {*metrics, *variants, *settings}
        yield from (f"{name!r} is nothing of it" for name in sorted(self.gpu_only - declared))
        if not self.headline or not self.charts:
            yield "a headline and at least one chart are needed"


@dataclass(frozen=True)
class Setup:
    """Where and on what a run measures: `device` is "cpu" or "cuda".

    Without a path the model is the bundled one and the text is Python's own reference. `licence` is
    the model's, None if nobody said. What runs of one process read from files is kept in `shared`,
    if there is one.
    """

    device: Literal["cpu", "cuda"]
    seed: int
    model: Path | None = None
    text: Path | None = None
    licence: str | None = None
    shared: MutableMapping[Path, Any] | None = None
