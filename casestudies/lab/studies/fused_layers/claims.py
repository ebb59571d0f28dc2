"""How a run speaks to LightSeq2's claims, each by the rule that stands with it in the fixtures."""

from collections.abc import Callable

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result

WIDTHS, BATCHES = (512, 1024), (8, 32, 128)  # of the rule; sequences of 128 tokens
BIG, BIG_BATCH = "Transformer-big", 64
GAIN = "speed-up"
LEAST_BEST, LEAST_WORST, LEAST_BIG = 1.75, 1.1, 1.5


def highest(result: Result) -> Judgement:
    """LightSeq2, claim 0: at best 3.5 times the previous systems."""
    return _at_sizes(result, "at the best size", max, LEAST_BEST)


def lowest(result: Result) -> Judgement:
    """LightSeq2, claim 1: at worst 1.4 times the previous systems."""
    return _at_sizes(result, "at the worst size", min, LEAST_WORST)


def transformer_big(result: Result) -> Judgement:
    """LightSeq2, claim 2: a speed-up of 308 % on WMT14 English-German."""
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    gain = result.value(GAIN, "compiled", model=BIG, batch=BIG_BATCH)
    return judged(
        Number("fused / eager, Transformer-big’s shape", gain, "x"), agrees=gain >= LEAST_BIG
    )


def _at_sizes(
    result: Result, where: str, chosen: Callable[[list[float]], float], least: float
) -> Judgement:
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    gains = [
        result.value(GAIN, "compiled", model=width_named(width), batch=batch)
        for width in WIDTHS
        for batch in BATCHES
    ]
    gain = chosen(gains)
    return judged(Number(f"fused / eager {where}", gain, "x"), agrees=gain >= least)


def width_named(width: int) -> str:
    """Return how results call the decoder of this width."""
    return f"width {width}"


ANSWERS = (
    Answer("wang2021lightseq2-0", "f8119c84a92e", highest),
    Answer("wang2021lightseq2-1", "751adc618208", lowest),
    Answer("wang2021lightseq2-2", "1cd5bb660be3", transformer_big),
)
