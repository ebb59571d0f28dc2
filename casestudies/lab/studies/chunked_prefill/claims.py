"""How a run speaks to the claims of SARATHI, each by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged
from casestudies.lab.result import Result
from casestudies.lab.serving.judging import of_a_trace

APART, TOGETHER, CHUNKS = "prompts apart", "whole prompts", "chunks"


@of_a_trace
def decode_time(result: Result) -> Judgement:
    """SARATHI 0: what answers add to a chunk, against a pass of them alone."""
    apart, beside = (result.value("time of the answers", name) for name in (APART, CHUNKS))
    numbers = (
        Number("answers alone", apart, "ms"),
        Number("answers beside a chunk, added to it", beside, "ms"),
    )
    # Where they add nothing that can be measured, there is no ratio to draw.
    ratio = (Number("alone over beside", apart / beside, "x", claimed=True),) if beside > 0 else ()
    return judged(*ratio, *numbers, agrees=2 * beside <= apart)


@of_a_trace
def total_time(result: Result) -> Judgement:
    """SARATHI 1: a fixed set of requests, without chunks over with them."""
    gain = result.value("speed-up", CHUNKS)
    apart = result.value("speed-up", APART)
    return judged(
        Number("whole prompts over chunks", gain, "x", claimed=True),
        Number("whole prompts over prompts apart", apart, "x"),
        agrees=gain >= 1.05,
    )


@of_a_trace
def pipeline(result: Result) -> Judgement:
    """SARATHI 2: bubbles and requests a second of a pipeline, on paper."""
    waited = {name: result.value("bubble time", name) for name in (TOGETHER, CHUNKS)}
    rate = {name: result.value("requests per second", name) for name in (TOGETHER, CHUNKS)}
    faster = rate[CHUNKS] / rate[TOGETHER]
    return judged(
        Number("requests per second, chunks over whole prompts", faster, "x", claimed=True),
        Number("bubble time with whole prompts", waited[TOGETHER], "s"),
        Number("bubble time with chunks", waited[CHUNKS], "s"),
        agrees=2 * waited[CHUNKS] <= waited[TOGETHER] and faster >= 1.1,
    )


ANSWERS = (
    Answer("agrawal2023sarathi-0", "e09dc0b10e5c", decode_time),
    Answer("agrawal2023sarathi-1", "fe4be1677de5", total_time),
    Answer("agrawal2023sarathi-2", "477755520ced", pipeline),
)
