"""How a run speaks to the claim of SGLang, by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result
from casestudies.lab.serving.declared import of_a_trace

NONE, TREE, AWARE = "no tree", "tree", "tree, longest prefix first"
HALF = range(48, 53)  # percent: whole blocks are counted, and texts may begin alike by chance


@of_a_trace
def requests_per_second(result: Result) -> Judgement:
    """SGLang 0: requests per second with a tree, over without, half of all tokens in common.

    First come, first served on both sides: the order is another subject.
    """
    common = result.value("in common", TREE)
    if round(common) not in HALF:
        return not_run("the rule needs requests of which half of all prompt tokens are shared")
    faster, same = result.value("speed-up", TREE), result.value("same tokens", TREE)
    return judged(
        Number("requests per second, tree over none", faster, "x", claimed=True),
        Number("prompt tokens in common", common, "%"),
        Number("prompt tokens reused", result.value("reused", TREE), "%"),
        Number("same tokens", same, "fraction"),
        agrees=faster >= 1.5 and same == 1,
    )


ANSWERS = (Answer("zheng2023sglang-0", "41d0e5fa9a68", requests_per_second),)
