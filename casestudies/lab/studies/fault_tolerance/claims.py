"""How a run speaks to the claim of Bamboo, by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged
from casestudies.lab.result import Result

UNDISTURBED, SAVING = "undisturbed", "checkpoints"
RESTARTED, REDUNDANT = "checkpoint and restart", "redundant neighbours"
HOURLY = (10, 16, 33)  # percent of the workers that are taken in an hour
GAIN = "samples over restarting, by replay"


def bamboo(result: Result) -> Judgement:
    """Judge Bamboo 0: samples an hour on paper, and a real loss that changes nothing."""
    gains = {hourly: result.value(GAIN, REDUNDANT, preemptions=hourly) for hourly in HOURLY}
    apart = result.value("equality error", RESTARTED)
    return judged(
        *(
            Number(
                f"redundant over restarting at {hourly} % an hour, by replay",
                gain,
                "x",
                claimed=hourly == HOURLY[0],
            )
            for hourly, gain in gains.items()
        ),
        Number("largest difference of a loss or weight after real losses", apart),
        agrees=gains[10] >= 1.5 and gains[33] >= 2.5 and apart == 0,
    )


ANSWERS = (Answer("thorpe2022bamboo-0", "9c312f39fc82", bamboo),)
