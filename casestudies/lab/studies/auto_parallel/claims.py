"""How a run speaks to DAPPLE's claim, by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result
from casestudies.lab.studies.auto_parallel.uneven import NAMES

FASTER, SLOWER = 1.1, 1 / 1.05
# Below these a step is mostly overhead, which no planner prices, or its median is of two.
LEAST = {"micro_batches": 16, "window": 32, "width": 128, "rounds": 3}


def planner_speed(result: Result) -> Judgement:
    """DAPPLE 0: 1.1 times as fast as PipeDream's plan on one model, nowhere over 5 % slower."""
    for name, least in LEAST.items():
        if result.whole(name) < least:
            return not_run(f"steps worth timing need {name.replace('_', '-')} of {least} or more")
    found = {name: result.value("speed-up", "searched plan", model=name) for name in NAMES}
    return judged(
        *(Number(f"PipeDream's / searched, {name}", x, "x") for name, x in found.items()),
        Number("the largest of them", max(found.values()), "x", claimed=True),
        agrees=max(found.values()) >= FASTER and min(found.values()) >= SLOWER,
    )


ANSWERS = (Answer("fan2020dapple-0", "086fee5d0399", planner_speed),)
