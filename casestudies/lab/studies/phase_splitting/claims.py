"""How a run speaks to the claims of Splitwise, each by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import NotMeasured, Result

MIXED, SPLIT = "mixed machines", "split pools"
CHEAPER, EQUAL = "20 % less cost", "equal cost and power"
LEAST_REQUESTS = 300  # of a trace on paper: of fewer, the 99th percentile says little
NO_RATE = "there are traces on which mixed machines keep the limits at no rate"


def at_less_cost(result: Result) -> Judgement:
    """Splitwise 0: requests a second within the limits, at 80 % of the cost."""
    return _gain(result, CHEAPER, 1.1)


def at_equal_cost_and_power(result: Result) -> Judgement:
    """Splitwise 1: requests a second within the limits, at equal cost and power."""
    return _gain(result, EQUAL, 1.3)


def _gain(result: Result, budget: str, least: float) -> Judgement:
    if result.whole("requests") < LEAST_REQUESTS:
        return not_run(f"the traces of this run have fewer than {LEAST_REQUESTS} requests")
    mixed, split = (
        result.value("rate within limits", name, budget=budget) for name in (MIXED, SPLIT)
    )
    try:
        gain = result.value("gain in rate", SPLIT, budget=budget)
    except NotMeasured:
        return not_run(f"{NO_RATE}, so nothing can be divided by it")
    return judged(
        Number("split pools over mixed machines", gain, "x", claimed=True),
        Number("mixed machines", mixed, "request/s"),
        Number("split pools", split, "request/s"),
        *(
            Number(f"replay off by, {name}", result.value("prediction error", name), "%")
            for name in (MIXED, SPLIT)
        ),
        agrees=gain >= least,
    )


ANSWERS = (
    Answer("patel2023splitwise-0", "28626e82723b", at_less_cost),
    Answer("patel2023splitwise-1", "2e549db1ae1c", at_equal_cost_and_power),
)
