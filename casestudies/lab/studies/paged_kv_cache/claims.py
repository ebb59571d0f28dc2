"""How a run speaks to the claims of vLLM, by the rules that stand with them in the fixtures.

The claims compare throughputs at equal latency. Here everyone waits from the beginning, as the
rules ask, so no number is the claims' very quantity.
"""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result
from casestudies.lab.serving.declared import of_a_trace

LONGEST, POWER, ORACLE = "room for the longest", "next power of two", "room for the true length"
PAGED, FEW = "blocks", "blocks, as few at once"


@of_a_trace
def over_the_longest(result: Result) -> Judgement:
    """VLLM 0: tokens per second with blocks, over room for the longest."""
    return _faster(result, LONGEST, result.value("speed-up", PAGED), 2.0)


@of_a_trace
def over_the_next_power(result: Result) -> Judgement:
    """VLLM 1: tokens per second with blocks, over room for the next power of two."""
    return _faster(result, POWER, result.value("speed-up over powers of two", PAGED), 1.3)


def _faster(result: Result, other: str, ratio: float, least: float) -> Judgement:
    memory, requests, block, prompt, added = (
        result.whole(name)
        for name in ("memory", "requests", "block", "longest_prompt", "longest_answer")
    )
    if block >= prompt + added:
        return not_run("a block of this run is as long as the longest text")
    if memory >= requests:
        return not_run("the memory of this run has room for the longest text of every request")
    return judged(
        Number(f"tokens per second, blocks over {other}", ratio, "x"),
        Number("requests at once", result.value("requests at once", PAGED), "requests"),
        Number("requests at once without", result.value("requests at once", other), "requests"),
        Number("same tokens", result.value("same tokens", PAGED), "fraction"),
        agrees=ratio >= least,
    )


ANSWERS = (
    Answer("kwon2023vllm-0", "f51bfdbd7bb2", over_the_longest),
    Answer("kwon2023vllm-1", "4aa9b3b82f24", over_the_next_power),
)
