"""How a run speaks to the claims, each by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result
from casestudies.lab.serving.declared import of_a_trace

FIRST, SHORTEST, FEEDBACK = "first come", "shortest first", "multi-level feedback"
WORST, PREDICTED = "room for the longest", "room for the predicted"
LOADS = (0.9, 0.7, 1.1)  # the first is the one that most is said of


@of_a_trace
def reserved_by_prediction(result: Result) -> Judgement:
    """S3 0: memory reserved by predicted lengths against the worst case."""
    faster = result.value("speed-up", PREDICTED)
    right = result.number("predicted_right")
    return judged(
        Number("tokens per second, predicted over longest", faster, "x", claimed=True),
        Number("lengths predicted right", 100 * right, "%"),
        Number("answers longer than predicted", result.value("too short", PREDICTED), "%"),
        Number("requests at once", result.value("requests at once", PREDICTED), "requests"),
        agrees=faster >= 2,
    )


@of_a_trace
def mean_completion(result: Result) -> Judgement:
    """FastServe 0: mean completion time, first come over multi-level feedback."""
    return _improved(result, "gain in mean completion", 1.5)


@of_a_trace
def tail_completion(result: Result) -> Judgement:
    """FastServe 1: 95th percentile of the completion time, in the same runs."""
    return _improved(result, "gain in completion, 95 %", 1.2)


def _improved(result: Result, metric: str, least: float) -> Judgement:
    if result.parameters["answers"] != "heavy tail":
        return not_run("the rule needs answers whose lengths have a heavy tail")
    found = result.value(metric, FEEDBACK)
    name = f"first come over multi-level feedback, at load {LOADS[0]}"
    return judged(Number(name, found, "x", claimed=True), agrees=found >= least)


ANSWERS = (
    Answer("jin2023s3-0", "9191628d4d64", reserved_by_prediction),
    Answer("wu2023fastserve-0", "7ba21fd9cf9e", mean_completion),
    Answer("wu2023fastserve-1", "2eeaff2a050c", tail_completion),
)
