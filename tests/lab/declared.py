"""A small declaration to test the contract on, without a study's algorithm."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from casestudies.lab import metrics
from casestudies.lab.contract import (
    QUICK,
    SMOKE,
    Answer,
    Headline,
    Judgement,
    Number,
    Parameters,
    Preset,
    Series,
    Setting,
    Study,
    StudyChart,
    Variant,
    judged,
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import Metric
from casestudies.lab.result import Result


class ToyParameters(Parameters):
    tokens: int = parameter(8, "Tokens read", role="workload", unit="tokens", ge=1, le=64)
    repeats: int = parameter(1, "How often", role="effort", ge=1, le=9)
    share: float = parameter(0.5, "What is left out", role="method", ge=0.0, le=0.9)


def at_most_half(result: Result) -> Judgement:
    value = result.value("size", "ours")
    number = Number("size", value, "MiB")
    return judged(number, supported=value <= 0.5, agrees=value <= 1)


SIZE = Metric("size", "MiB", "lower is better", "memory", "counted", "bytes as written")
TOY = Study(
    slug="toy-study",
    name="Toy",
    subject="a declaration without an algorithm",
    summary="Nothing runs.",
    limits="It shows nothing.",
    publications=("someone2023toy", "other2022toy"),
    strategies=("pruning",),
    parameters=ToyParameters,
    presets={SMOKE: Preset(0.1, {"tokens": 2}), QUICK: Preset(1), "claims": Preset(1)},
    variants=(Variant("theirs", "as it was", "baseline"), Variant("ours", "the method")),
    settings=(
        Setting("code", "how it is written"),
        Setting("batch", "at once", "sequences", one="sequence"),
    ),
    metrics=(SIZE, metrics.PERPLEXITY),
    series=(Series("size by share", "share", "fraction", "size"),),
    headline=(Headline("size", "ours"),),
    charts=(StudyChart("trade", "Which is smaller.", x="size", y="perplexity"),),
    answers=(Answer("someone2023toy-0", "0" * 12, at_most_half),),
    needs=lambda parameters: Needs(memory_gib=parameters.tokens),
)


def toy(**changes: Any) -> Study:
    """Return the declaration with these changes."""
    return replace(TOY, **changes)


def document(**changes: Any) -> dict[str, Any]:
    """Return a result of the toy study as JSON values, with these changes."""
    environment = {
        "device": "cpu",
        "processor": "Some CPU",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 2**34,
        "system": "Linux",
        "python": "3.11.7",
        "libraries": {"torch": "2.13.0"},
        "commit": None,
        "precision": "float32",
    }
    measurement = {
        "metric": "size",
        "variant": "ours",
        "settings": {},
        "value": 0.75,
        "unit": "MiB",
        "n": 1,
        "spread": None,
    }
    return {
        "study": "toy-study",
        "parameters": {"tokens": 8, "repeats": 1, "share": 0.5},
        "seed": 0,
        "environment": environment,
        "measurements": [measurement],
        "series": [{"name": "size by share", "variant": "ours", "points": [[0.5, 0.75]]}],
        "verdict": "It is small.",
        **changes,
    }


Rows = Iterable[tuple[str, str, float, dict[str, Any]]]  # metric, variant, value, settings


def measured(study: Study, rows: Rows, **parameters: Any) -> Result:
    """Return a run of the preset `claims` that measured these."""
    measurements = [
        {
            "metric": metric,
            "variant": variant,
            "settings": settings,
            "value": value,
            "unit": study.metric(metric).unit,
            "n": 1,
            "spread": None,
        }
        for metric, variant, value, settings in rows
    ]
    given = study.check("claims", parameters).model_dump()
    whole = document(study=study.slug, parameters=given, measurements=measurements, series=[])
    return study.read(whole)


def on_a_gpu(result: Result) -> Result:
    """Return the result as if it had been measured on a GPU."""
    environment = result.environment.model_copy(update={"device": "cuda"})
    return result.model_copy(update={"environment": environment})


def statuses(study: Study, rows: Rows, **parameters: Any) -> dict[str, str]:
    """Return how each claim stands beside such a run."""
    found = study.judge(measured(study, rows, **parameters))
    return {claim: judgement.status for claim, judgement in found.items()}
