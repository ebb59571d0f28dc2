"""What studies of serving declare alike; nothing here imports PyTorch.

The model that is trained in the run, and what a trace must be before a claim is judged by it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from casestudies.lab.contract import Judgement, not_run, parameter
from casestudies.lab.result import Result

LEAST_REQUESTS = 32  # a trace of fewer says little of waiting

Judge = Callable[[Result], Judgement]


def width() -> Any:
    """Return the parameter of the width of the model that is trained."""
    return parameter(
        256,
        "Width of the model that is trained",
        unit="numbers a token",
        ge=64,
        le=1024,
        multiple_of=32,
        role="workload",
    )


def layers() -> Any:
    """Return the parameter of its blocks."""
    return parameter(
        4, "Blocks of the model that is trained", unit="blocks", ge=1, le=24, role="workload"
    )


def steps(usual: int) -> Any:
    """Return the parameter of the steps of its training, of which so many are usual."""
    return parameter(
        usual,
        "Steps of training, of 16 windows of 64 tokens each",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )


def of_a_trace(judge: Judge) -> Judge:
    """Return the judge, who says nothing of a run whose trace has too few requests."""

    @wraps(judge)
    def judge_or_not(result: Result) -> Judgement:
        if result.whole("requests") < LEAST_REQUESTS:
            return not_run(f"the trace of this run has fewer than {LEAST_REQUESTS} requests")
        return judge(result)

    return judge_or_not
