"""What a trace must be before a claim is judged by it; nothing here imports PyTorch."""

from collections.abc import Callable
from functools import wraps

from casestudies.lab.contract import Judgement, not_run
from casestudies.lab.result import Result

LEAST_REQUESTS = 32  # a trace of fewer says little of waiting

Judge = Callable[[Result], Judgement]


def of_a_trace(judge: Judge) -> Judge:
    """Return the judge, who says nothing of a run whose trace has too few requests."""

    @wraps(judge)
    def judge_or_not(result: Result) -> Judgement:
        if int(result.parameters["requests"] or 0) < LEAST_REQUESTS:
            return not_run(f"the trace of this run has fewer than {LEAST_REQUESTS} requests")
        return judge(result)

    return judge_or_not
