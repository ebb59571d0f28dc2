"""How a run speaks to the claim of Orca, by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import NotMeasured, Result
from casestudies.lab.serving.declared import of_a_trace

ALONE, PADDED = "one at a time", "request-level, padded"
REQUEST, ITERATION = "request-level", "iteration-level"
LEAST_LOADS = 4  # fewer make no curve


@of_a_trace
def throughput(result: Result) -> Judgement:
    """Orca 0: tokens per second at the same median normalized latency."""
    if result.whole("loads") < LEAST_LOADS:
        return not_run("the rule needs a curve of at least four loads")
    try:
        gain = result.value("gain at equal latency", ITERATION)
        over_padded = result.value("gain over padded batches", ITERATION)
    except NotMeasured:
        return not_run("the latency at which throughputs are compared was not reached")
    return judged(
        Number("iteration-level over request-level, at equal latency", gain, "x", claimed=True),
        Number("over padded batches, Orca's own baseline, at equal latency", over_padded, "x"),
        Number("with every request waiting", result.value("speed-up", ITERATION), "x"),
        agrees=gain >= 2,
    )


ANSWERS = (Answer("yu2022orca-0", "928ed97df3fe", throughput),)
