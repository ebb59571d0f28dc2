"""How a run speaks to the claims of AlpaServe, each by the rule that stands with it."""

from collections.abc import Callable
from functools import wraps

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import NotMeasured, Result

WHOLE, SPLIT = "whole models", "split models"
VARIATION = 4.0  # of the times between arrivals, for which the rule of the rate asks
LEAST_REQUESTS = 5_000  # of a trace on paper: of fewer, one in a hundred says little
NO_LOAD = "there are traces on which whole models keep the deadline at no load"
NO_BURSTINESS = "there are traces on which whole models keep the deadline at no burstiness"

Judge = Callable[[Result], Judgement]


def of_a_long_trace(judge: Judge) -> Judge:
    """Return the judge, who says nothing of a run whose traces on paper are short."""

    @wraps(judge)
    def judge_or_not(result: Result) -> Judgement:
        if result.whole("requests") < LEAST_REQUESTS:
            return not_run(f"the traces of this run have fewer than {LEAST_REQUESTS} requests")
        return judge(result)

    return judge_or_not


@of_a_long_trace
def request_rate(result: Result) -> Judgement:
    """AlpaServe 0: the highest rate at 99 % within the deadline, at equal memory."""
    if result.parameters["burstiness"] != VARIATION:
        return not_run(f"the rule asks for a coefficient of variation of {VARIATION:g}")
    return _compared(result, "gain in rate", "highest load", 2, NO_LOAD)


@of_a_long_trace
def burstiness(result: Result) -> Judgement:
    """AlpaServe 1: the greatest burstiness at 99 % within the deadline."""
    return _compared(
        result, "gain in burstiness", "greatest burstiness", 1.5, f"at this load {NO_BURSTINESS}"
    )


def _compared(result: Result, gain: str, metric: str, least: float, without: str) -> Judgement:
    whole, split = (result.value(metric, name) for name in (WHOLE, SPLIT))
    try:
        ratio = result.value(gain, SPLIT)
    except NotMeasured:
        return not_run(f"{without}, so nothing can be divided by it")
    return judged(
        Number("split models over whole ones", ratio, "x", claimed=True),
        Number(f"{metric}, whole models", whole),
        Number(f"{metric}, split models", split),
        Number("deadline over the time alone", result.number("deadline"), "x"),
        *_elsewhere(result, gain, "deadline", "at a deadline of {:g} times"),
        *_elsewhere(result, gain, "room", "with room for {:g} whole models"),
        *(Number(f"replay off by, {name}", _error(result, name), "%") for name in (WHOLE, SPLIT)),
        agrees=ratio >= least,
    )


def _elsewhere(result: Result, gain: str, setting: str, named: str) -> list[Number]:
    # The rule leaves deadline and room open, and more depends on them than on anything else.
    return [
        Number(named.format(row.settings[setting]), row.value, "x")
        for row in result.measurements
        if row.metric == gain and set(row.settings) == {setting}
    ]


def _error(result: Result, variant: str) -> float:
    asked = result.parameters["burstiness"]
    return result.value("prediction error", variant, burstiness=asked)


ANSWERS = (
    Answer("li2023alpaserve-0", "27e5ce4b7d51", request_rate),
    Answer("li2023alpaserve-1", "e065b26abb5e", burstiness),
)
