"""What studies declare alike that change a block of OPT-175B's shape; no PyTorch is imported."""

import re
from collections.abc import Callable

from casestudies.lab.contract import Judgement, Number, judged, not_run
from casestudies.lab.result import Result

# The rules ask for an A100 or a slower GPU: Ampere and older, and the smaller ones since, of which
# the L4 is one and the L40 is not.
NO_FASTER_THAN_A100 = re.compile(r"A100|A10|A30|A40|A6000|V100|T4|L4\b|RTX 30|RTX 20")


def hours_for_175b(metric: str, variant: str) -> Callable[[Result], Judgement]:
    """Return how claims stand that say in how many hours one A100 changes the largest models.

    The metric is 96 times the time of one block. Rule of SparseGPT's claim 1 and GPTQ's claim 0.
    """

    def judge(result: Result) -> Judgement:
        gpu = result.environment.gpu
        if gpu is None:
            return not_run("needs a GPU")
        hours = result.value(metric, variant)
        comparable = NO_FASTER_THAN_A100.search(gpu.name) is not None
        return judged(
            Number("96 blocks of OPT-175B’s shape", hours, "h", claimed=True),
            supported=comparable and hours <= 4.5,
            agrees=hours <= (12 if "A100" in gpu.name else 4.5),
        )

    return judge
