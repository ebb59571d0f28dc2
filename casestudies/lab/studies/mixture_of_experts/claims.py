"""How a run speaks to the claims, each by the rule that stands with it in the fixtures."""

import itertools

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result

DENSE, TWICE, FOUR_TIMES = "dense", "dense, 2 x wider", "dense, 4 x wider"
ALL_DENSE = (DENSE, TWICE, FOUR_TIMES)
SHALLOWER = "dense, a block less"
SWITCH, PYRAMID = "switch", "pyramid-residual, distilled"

LEAST_STEPS = 200  # after fewer a model says little more than how often a token occurs


def faster_than_dense(result: Result) -> Judgement:
    """DeepSpeed-MoE 1: a mixture reads faster than a dense model that is no better."""
    if reason := hardly_trained(result):
        return not_run(reason)
    loss, speed = (
        {name: result.value(metric, name) for name in (*ALL_DENSE, SWITCH)}
        for metric in ("loss", "tokens per second")
    )
    # From the narrowest on: a wider one counts only where no narrower one is better.
    no_better = list(itertools.takewhile(lambda name: loss[name] >= loss[SWITCH], ALL_DENSE))
    if not no_better:
        return judged(
            Number("loss of the mixture", loss[SWITCH], "nats"),
            Number("loss of the dense model at equal operations", loss[DENSE], "nats"),
        )
    largest = no_better[-1]
    ratio = speed[SWITCH] / speed[largest]
    return judged(
        Number(f"tokens per second over {largest}", ratio, "x", claimed=True),
        Number("loss of the mixture", loss[SWITCH], "nats"),
        Number(f"loss of {largest}", loss[largest], "nats"),
        agrees=ratio >= 1.3,
    )


def smaller_mixture(result: Result) -> Judgement:
    """DeepSpeed-MoE 2: pyramid, residual and distilled, a mixture is smaller and no worse.

    The rule's "within 0.02 nats" is read as no more above; that it is below counts.
    """
    if reason := hardly_trained(result):
        return not_run(reason)
    if result.whole("layers") < 3:
        return not_run("a pyramid needs two blocks of experts: at least three layers")
    if result.value("loss", SWITCH) >= result.value("loss", DENSE):
        return not_run(
            "the standard mixture of this run is no better than a dense model of as many operations"
        )
    size, loss = (
        [result.value(metric, name) for name in (SWITCH, PYRAMID)]
        for metric in ("trainable parameters", "loss")
    )
    ratio, worse = size[0] / size[1], loss[1] - loss[0]
    return judged(
        Number(
            "parameters of the standard mixture over the smaller one’s", ratio, "x", claimed=True
        ),
        Number("loss above the standard mixture’s", worse, "nats"),
        Number(
            "loss of a dense model of as few blocks above it",
            result.value("loss", SHALLOWER) - loss[0],
            "nats",
        ),
        agrees=ratio >= 2 and worse <= 0.02,
    )


def hardly_trained(result: Result) -> str:
    """Return why the run says nothing of mixtures, if its models are hardly trained."""
    if result.whole("steps") >= LEAST_STEPS:
        return ""
    return f"the models of this run were trained for fewer than {LEAST_STEPS} steps"


ANSWERS = (
    Answer("rajbhandari2022deepspeedmoe-1", "0eb10bebb178", faster_than_dense),
    Answer("rajbhandari2022deepspeedmoe-2", "889dfa2f315c", smaller_mixture),
)
