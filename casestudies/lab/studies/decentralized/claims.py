"""How a run speaks to the claim of Petals, by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result

STREAMED, ALONE, CHAIN, CODED = "weights streamed", "one process", "chain", "chain, 8 bits"
GAIN = "gain over streaming, computed"
MEASURED, FREE = "as measured", "none"  # what computing takes
PEERS, RATE, ROUND_TRIP = 14, 100e6 / 8, 0.1  # the rule's: bytes a second, seconds
WEIGHTS, BUS = 176e9, 256e9 / 8  # bytes, bytes a second
WIDTH = 14_336  # of BLOOM-176B
MOST_APART, LEAST_GAIN = 30, 3
LEAST_ROUNDS = 5  # below, chance may decide how far the timed chain is off


def petals(result: Result) -> Judgement:
    """Judge Petals 1: the model, which must be near what was timed, for 176 GB and 14 peers.

    Peers pass weights as fast as this machine does, in the chain and where weights are streamed.
    """
    if result.whole("rounds") < LEAST_ROUNDS:
        return not_run(f"each way was timed fewer than {LEAST_ROUNDS} times")
    gain = result.value(GAIN, CODED, computing=MEASURED)
    apart = max(m.value for m in result.measurements if m.metric == "prediction error")
    return judged(
        Number("weights streamed / chain of 14 peers", gain, "x", claimed=True),
        Number(
            "the same if computing took no time", result.value(GAIN, CODED, computing=FREE), "x"
        ),
        Number("weights passed here", result.value("weights passed", CHAIN), "GB/s"),
        Number("needed for 3x", result.value("weights passed for 3x", CODED), "GB/s"),
        Number("timed chain off the model, at most", apart, "%"),
        agrees=apart <= MOST_APART and gain >= LEAST_GAIN,
    )


ANSWERS = (Answer("borzunov2022petals-1", "06931620fabd", petals),)
