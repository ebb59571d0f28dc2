"""How a run speaks to the claims of SARATHI, each by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result
from casestudies.lab.serving.declared import of_a_trace

APART, TOGETHER, CHUNKS = "prompts apart", "whole prompts", "chunks"


@of_a_trace
def decode_time(result: Result) -> Judgement:
    """SARATHI 0: what answers add to a chunk, against a pass of them alone."""
    apart, beside = (result.value("time of the answers", name) for name in (APART, CHUNKS))
    if beside <= 0:
        return not_run("what the answers add to a chunk is less than this run can measure")
    return judged(
        Number("alone over beside", apart / beside, "x", claimed=True),
        Number("answers alone", apart, "ms"),
        Number("answers beside a chunk, added to it", beside, "ms"),
        agrees=2 * beside <= apart,
    )


@of_a_trace
def total_time(result: Result) -> Judgement:
    """SARATHI 1: a fixed set of requests, the faster way without chunks over chunks."""
    chunk, longest = (result.whole(name) for name in ("chunk", "longest_prompt"))
    if chunk > longest // 2:
        return not_run("a chunk holds whole prompts")
    over_chunks, over_apart = (result.value("speed-up", name) for name in (CHUNKS, APART))
    gain = over_chunks / max(1, over_apart)
    return judged(
        Number("the faster way without chunks over chunks", gain, "x", claimed=True),
        Number("whole prompts over chunks", over_chunks, "x"),
        Number("whole prompts over prompts apart", over_apart, "x"),
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
        *(
            Number(f"replay off by, {name}", result.value("prediction error", name), "%")
            for name in (TOGETHER, CHUNKS)
        ),
        agrees=2 * waited[CHUNKS] <= waited[TOGETHER] and faster >= 1.1,
    )


ANSWERS = (
    Answer("agrawal2023sarathi-0", "e09dc0b10e5c", decode_time),
    Answer("agrawal2023sarathi-1", "fe4be1677de5", total_time),
    Answer("agrawal2023sarathi-2", "477755520ced", pipeline),
)
