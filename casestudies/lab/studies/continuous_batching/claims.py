"""How a run speaks to the claim of Orca, by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged
from casestudies.lab.result import Result
from casestudies.lab.serving.judging import of_a_trace

ALONE, PADDED = "one at a time", "request-level, padded"
REQUEST, ITERATION = "request-level", "iteration-level"


@of_a_trace
def throughput(result: Result) -> Judgement:
    """Orca 0: tokens per second at the same median normalized latency."""
    gain = result.value("gain at equal latency", ITERATION)
    return judged(
        Number("iteration-level over request-level, at equal latency", gain, "x", claimed=True),
        Number("with every request waiting", result.value("speed-up", ITERATION), "x"),
        agrees=gain >= 2,
    )


ANSWERS = (Answer("yu2022orca-0", "928ed97df3fe", throughput),)
