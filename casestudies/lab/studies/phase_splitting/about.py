"""What the study is, what may be set, and what it measures."""

from typing import Literal

from casestudies.lab import metrics
from casestudies.lab.contract import (
    CLAIMS,
    FULL,
    QUICK,
    SMOKE,
    Headline,
    Parameters,
    Preset,
    Series,
    Setting,
    Study,
    StudyChart,
    Variant,
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric
from casestudies.lab.serving import declared
from casestudies.lab.studies.phase_splitting.claims import ANSWERS, MIXED, SPLIT


class PhaseSplittingParameters(Parameters):
    """What a reader may set."""

    machines: int = parameter(
        8,
        "Machines of the faster kind on paper, whose cost and power are the budget",
        unit="machines",
        ge=2,
        le=40,
        role="workload",
    )
    requests: int = parameter(
        300, "Requests of a trace on paper", unit="requests", ge=20, le=10_000, role="effort"
    )
    traces: int = parameter(
        3,
        "Traces on paper, beside one on which the cluster is chosen",
        unit="traces",
        ge=2,
        le=20,
        role="effort",
    )
    executed: int = parameter(
        48, "Requests that are carried out", unit="requests", ge=4, le=1000, role="workload"
    )
    rounds: int = parameter(3, "Times that they are", unit="rounds", ge=2, le=100, role="effort")
    longest_prompt: int = parameter(
        256,
        "Longest prompt; all lengths from a quarter of it on are equally likely",
        unit="tokens",
        ge=8,
        le=2048,
        multiple_of=4,
        role="workload",
    )
    longest_answer: int = parameter(
        32,
        "Longest answer; all lengths from two tokens on are equally likely",
        unit="tokens",
        ge=4,
        le=512,
        role="workload",
    )
    arrivals: Literal["poisson", "bursts"] = parameter(
        "poisson", "How requests come: one by one, or eight at a time", role="workload"
    )
    load: float = parameter(
        0.5,
        "Requests a second that are carried out, times the time of one alone, by machine",
        unit="fraction",
        ge=0.05,
        le=2,
        role="workload",
    )
    slots: int = parameter(
        16,
        "Requests that a machine computes for at once",
        unit="slots",
        ge=2,
        le=64,
        role="workload",
    )
    bandwidth: float = parameter(
        500.0,
        "What the link of each machine that reads prompts carries (emulated link)",
        unit="MB/s",
        ge=1,
        le=100_000,
        role="workload",
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(40)


def needs(parameters: PhaseSplittingParameters) -> Needs:
    """Return a core for each of the two machines, and memory for all requests' caches on each."""
    p = parameters
    held = p.executed * (p.longest_prompt + p.longest_answer) * 2 * p.layers * p.width * 4
    return Needs(processes=2, memory_gib=2 + 3 * held / 2**30)


def executed(name: str, unit: str, what: str) -> Metric:
    """Return the metric of what those who wait noticed of what was carried out."""
    how = f"on two machines: {what}; median of rounds"
    return Metric(name, unit, LOWER, "latency", "timed", how)


STUDY = Study(
    slug="phase-splitting",
    name="Phase splitting",
    subject="prompts are read on some machines, and answers go on on others",
    summary=(
        "Reading a prompt keeps a machine busy that meanwhile adds no token to any answer."
        " Splitwise reads prompts on one pool of machines, sends keys and values to another, and"
        " adds the tokens there, each pool of the machines that suit it. Carries that out on two"
        " processes with an emulated link, beside two that each do both; then replays clusters of"
        " two kinds of machine with the times of the run and published prices and power, to find"
        " the highest request rate within Splitwise's nine limits of latency."
    ),
    limits=(
        "Two processes on one machine, and an emulated link between them. On paper the slower kind"
        " of machine takes the times of this run and the faster one those times the ratios that"
        " Splitwise publishes for a model of 70 billion parameters, so that which kind suits which"
        " phase is its finding and not this run's. Its ratio for prompts is that of its coding"
        " workload and given here from memory, its other figures from notes on the paper. A CPU"
        " takes longer for a batch of tokens where a GPU hardly does, which is what a pool for"
        " tokens lives from. Lengths are drawn, not observed; Splitwise's third pool, which helps"
        " either phase, is left out, and a cap on the power of machines for tokens, which at equal"
        " cost buys nothing more."
    ),
    publications=("patel2023splitwise",),
    strategies=("request-scheduling", "scheduler-optimization", "heterogeneous-hardware"),
    parameters=PhaseSplittingParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "machines": 2,
                "requests": 20,
                "traces": 2,
                "executed": 8,
                "rounds": 2,
                "longest_prompt": 32,
                "longest_answer": 8,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(4, {"requests": 600, "traces": 5, "rounds": 5}),
        FULL: Preset(30, {"requests": 2_000, "traces": 9, "executed": 200, "rounds": 9}),
    },
    variants=(
        Variant(
            MIXED,
            "each machine reads prompts in the passes that add to answers (mixed batching)",
            "baseline",
        ),
        Variant(SPLIT, "some machines read prompts, and others add the tokens after the first"),
    ),
    settings=(
        Setting("budget", "what the split pools may cost and draw, beside the mixed machines"),
        Setting("kinds", "of machines for prompts and tokens: A as measured, H the faster"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request alone, up to the first that is not, of all;"
            " least of all rounds"
        ),
        metrics.BYTES_SENT.measured(
            "bytes of keys and values sent for the whole trace, over the emulated link"
        ),
        metrics.TIME_TO_FIRST_TOKEN.measured(
            "from a request's arrival to its first token, on two machines: median of all requests,"
            " median of rounds"
        ),
        metrics.TIME_PER_TOKEN.measured(
            "between one token and the next of a request on average, on two machines: median of all"
            " requests, median of rounds"
        ),
        executed(
            "longest wait for a token",
            "ms",
            "the longest time from one token to the next that 95 % of the requests do not exceed",
        ),
        executed("mean completion time", "ms", "from arrival to the last token, mean"),
        executed(
            "completion time, 99 %", "ms", "from arrival to the last token, what 99 % do not exceed"
        ),
        metrics.PREDICTION_ERROR.measured(
            "of the replay, with costs of the passes of the same round: its mean completion time"
            " against that of what was carried out; median of rounds"
        ),
        Metric(
            "rate within limits",
            "request/s",
            HIGHER,
            "throughput",
            "timed",
            "highest rate at which 50, 90 and 99 % of the requests are within Splitwise's limits of"
            " first token, time between tokens and completion, by replay with costs of this run, of"
            " the best cluster that the budget allows; 0 if it is below a fiftieth of what machines"
            " serve one by one; median of traces",
        ),
        Metric(
            "gain in rate",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "rate within limits divided by that of the best mixed cluster, on the same traces;"
            " median of traces",
            relative_to=MIXED,
        ),
        Metric(
            "machines for prompts",
            "machines",
            NEITHER,
            None,
            "timed",
            "machines that read prompts in the best cluster that the budget allows",
        ),
        Metric(
            "machines for tokens",
            "machines",
            NEITHER,
            None,
            "timed",
            "machines that add tokens in the best cluster that the budget allows",
        ),
    ),
    series=(
        Series("rate by machines for prompts", "machines for prompts", "", "rate within limits"),
    ),
    headline=(Headline("gain in rate", SPLIT), Headline("longest wait for a token", SPLIT)),
    charts=(
        StudyChart(
            "curves",
            "At equal cost and power, on the trace on which clusters are chosen: too few machines"
            " for prompts let first tokens wait, too many leave too few for tokens. Mixed machines"
            " know no such choice, so theirs is level.",
            series="rate by machines for prompts",
        ),
        StudyChart(
            "bars",
            "What was carried out on two machines: how long answers stand still, while prompts of"
            " others are read, or until keys and values have come.",
            y="longest wait for a token",
        ),
    ),
    answers=ANSWERS,
    kind="replay",
    accepts=("text",),
    devices=("cpu",),
    needs=needs,
)
