"""How a run speaks to the claims, each by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result

LARGE, SMALL = "large model", "small model"
SMALL_TO_LARGE, EARLY_EXIT = "small to large", "early exit"

# What a threshold is chosen for, in percentage points of accuracy above the large model's.
AS_ACCURATE = "as accurate"
NOT_LESS_ACCURATE = {AS_ACCURATE: 0.0, "half a point more": 0.5, "a point more": 1.0}
AIMS = {"a point less": -1.0, **NOT_LESS_ACCURATE}
SAME_COST = "most accurate"  # at no more operations than the large model's

LEAST_STEPS = 100  # after fewer the small model says little more than how often a token occurs
LEAST_TIMED = 100  # of fewer queries a 99th percentile is the slowest


def saves_operations(result: Result) -> Judgement:
    """FrugalGPT 0: a cascade as accurate as the best model costs less."""
    if reason := hardly_trained(result):
        return not_run(reason)
    saved = result.value("operations saved", SMALL_TO_LARGE, aim=AS_ACCURATE)
    gain = result.value("accuracy gain", SMALL_TO_LARGE, aim=AS_ACCURATE)
    return judged(
        Number("operations saved", saved, "%"),
        Number("accuracy above the large model’s", gain, "points"),
        agrees=saved >= 30 and gain >= 0,
    )


def gains_accuracy(result: Result) -> Judgement:
    """FrugalGPT 1: a cascade that costs as much as the best model is more accurate."""
    if reason := hardly_trained(result):
        return not_run(reason)
    saved = result.value("operations saved", SMALL_TO_LARGE, aim=SAME_COST)
    gain = result.value("accuracy gain", SMALL_TO_LARGE, aim=SAME_COST)
    error = result.value("standard error", SMALL_TO_LARGE, aim=SAME_COST)
    return judged(
        Number("accuracy above the large model’s", gain, "points"),
        Number("its standard error", error, "points"),
        Number("operations saved", saved, "%"),
        agrees=gain > 2 * error and saved >= 0,
    )


def best_latency(result: Result) -> Judgement:
    """Tabi 0: the most that mean latency falls, the slowest queries hardly slower."""
    return judge_latency(result, least=20, at_every=False)


def worst_latency(result: Result) -> Judgement:
    """Tabi 1: the least that mean latency falls."""
    return judge_latency(result, least=10, at_every=True)


def judge_latency(result: Result, least: float, at_every: bool) -> Judgement:
    """Return whether so much is saved at every aim, or at the best, no less accurate."""
    if reason := hardly_trained(result):
        return not_run(reason)
    if result.whole("timed") < LEAST_TIMED:
        return not_run(f"a 99th percentile needs {LEAST_TIMED} timed queries")
    numbers: list[Number] = []
    met: list[bool] = []
    for aim in NOT_LESS_ACCURATE:
        saved, tail, gain, operations = (
            result.value(metric, SMALL_TO_LARGE, aim=aim)
            for metric in (
                "latency saved",
                "tail latency ratio",
                "accuracy gain",
                "operations saved",
            )
        )
        met.append(saved >= least and tail <= 1.2 and gain >= 0)
        numbers += [
            Number(
                f"the large model’s mean latency over the cascade’s, {aim}",
                1 / (1 - saved / 100),
                "x",
                claimed=gain >= 0,
            ),
            Number(f"mean latency saved, {aim}", saved, "%"),
            Number(f"operations saved, {aim}", operations, "%"),
            Number(f"P99, {aim}", tail, "x the large model’s"),
            Number(f"accuracy above the large model’s, {aim}", gain, "points"),
        ]
    return judged(*numbers, agrees=all(met) if at_every else any(met))


def hardly_trained(result: Result) -> str:
    """Return why the run says nothing of a cascade, if the small model is hardly trained."""
    if result.whole("steps") >= LEAST_STEPS:
        return ""
    return f"the small model of this run was trained for fewer than {LEAST_STEPS} steps"


ANSWERS = (
    Answer("chen2023frugalgpt-0", "624493d4ad35", saves_operations),
    Answer("chen2023frugalgpt-1", "11f5256702ff", gains_accuracy),
    Answer("wang2023tabi-0", "d1a3fe048196", best_latency),
    Answer("wang2023tabi-1", "11ff300d196f", worst_latency),
)
