"""What the study is, what may be set, and what it measures."""

from dataclasses import replace
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
from casestudies.lab.studies.request_scheduling.claims import (
    ANSWERS,
    FEEDBACK,
    FIRST,
    PREDICTED,
    SHORTEST,
    WORST,
)


class RequestSchedulingParameters(Parameters):
    """What a reader may set."""

    slots: int = parameter(
        4,
        "Requests that are computed for at once, and for how many of the longest there is memory",
        unit="slots",
        ge=2,
        le=32,
        role="workload",
    )
    requests: int = parameter(
        64, "Requests of a trace", unit="requests", ge=2, le=1000, role="workload"
    )
    longest_prompt: int = parameter(
        64,
        "Longest prompt; all lengths from an eighth of it on are equally likely",
        unit="tokens",
        ge=8,
        le=1024,
        multiple_of=8,
        role="workload",
    )
    longest_answer: int = parameter(
        192,
        "Longest answer, from four tokens on; the tail is heavy, or all are equally likely",
        unit="tokens",
        ge=8,
        le=1024,
        role="workload",
    )
    answers: Literal["heavy tail", "uniform"] = parameter(
        "heavy tail", "How the lengths of the answers are distributed", role="workload"
    )
    arrivals: Literal["poisson", "bursts"] = parameter(
        "poisson", "How requests come: one by one, or eight at a time", role="workload"
    )
    loads: int = parameter(
        3, "How many of the loads 0.9, 0.7 and 1.1", unit="loads", ge=1, le=3, role="effort"
    )
    quantum: int = parameter(
        16,
        "Tokens that a request may take on the first level before it goes to the next",
        unit="tokens",
        ge=1,
        le=1024,
        role="method",
    )
    levels: int = parameter(
        4,
        "Levels of multi-level feedback, each with twice the quantum",
        unit="levels",
        ge=1,
        le=16,
        role="method",
    )
    patience: int = parameter(
        500,
        "Passes after which a request that was not served goes back to the first level",
        unit="passes",
        ge=1,
        le=100_000,
        role="method",
    )
    predicted_right: float = parameter(
        0.9,
        "Share of the answers whose length, to a tenth of the longest, is predicted right; of the"
        " others any length is",
        unit="fraction",
        ge=0.0,
        le=1.0,
        role="method",
    )
    first_token_limit: float = parameter(
        50.0,
        "A request counts for goodput if its first token is there within so many times the time of"
        " a pass for one request",
        unit="x",
        ge=1,
        le=10_000,
        role="workload",
    )
    per_token_limit: float = parameter(
        4.0,
        "A request counts for goodput if its later tokens take, on average, no more than so many"
        " times that time",
        unit="x",
        ge=1,
        le=10_000,
        role="workload",
    )
    rounds: int = parameter(
        3, "Times that everything is served", unit="rounds", ge=2, le=100, role="effort"
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(60)


def needs(parameters: RequestSchedulingParameters) -> Needs:
    """Return the memory of the caches, beside what PyTorch and the text take."""
    p = parameters
    token = 2 * p.layers * p.width * 4
    # Both rules of holding memory are served side by side, and so are three queues at all loads.
    held = max(2, 3 * p.loads) * p.slots * (p.longest_prompt + p.longest_answer) * token
    return Needs(memory_gib=1.5 + held / 2**30)


def completion(name: str, what: str) -> Metric:
    """Return the metric of what is said of the completion times of all requests."""
    how = f"from a request's arrival until its last token: {what}, median of rounds"
    return Metric(name, "s", LOWER, "latency", "timed", how)


def gain(name: str, what: str) -> Metric:
    """Return the metric of how much sooner requests are done than first come, first served."""
    how = f"{what} of first come, first served, divided by the variant's in the same round"
    return Metric(name, "x", HIGHER, "latency", "timed", f"{how}, at load 0.9", relative_to=FIRST)


STUDY = Study(
    slug="request-scheduling",
    name="Request scheduling",
    subject="who is served first, and how much memory is held for whom",
    summary=(
        "Serves one trace of requests, most of them short and a few very long, with one engine and"
        " three queues: first come, first served; the shortest first, as if lengths were known; and"
        " multi-level feedback, which lets long requests wait again and puts their keys and values"
        " aside. Then holds room for keys and values for the longest answer, or for a predicted"
        " one. Compares mean, median, 95th and 99th percentile of completion, and goodput."
    ),
    limits=(
        "A small model in float32, traces of some dozens of requests whose lengths are drawn and"
        " not observed, and percentiles of as many. Keys and values that are put aside are copied"
        " within the same memory on a CPU, which is faster than to a host and back. Feedback"
        " holds room for the longest answer for everyone, so it copies more than it must. The"
        " predictor is an oracle with a stated share of errors: how good one could be is not shown."
        " On a CPU a pass takes longer for more requests, so memory for more of them gains less"
        " than on a GPU. One trace is drawn and every round serves it: the spread is the machine's"
        " and says nothing of other traces."
    ),
    publications=("wu2023fastserve", "jin2023s3", "yu2022orca"),
    strategies=("request-scheduling", "scheduler-optimization"),
    parameters=RequestSchedulingParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "slots": 2,
                "requests": 8,
                "longest_prompt": 8,
                "longest_answer": 16,
                "quantum": 4,
                "loads": 1,
                "rounds": 2,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3.5, {"requests": 96, "rounds": 5}),
        FULL: Preset(30, {"requests": 512, "rounds": 9, "steps": 1000}),
    },
    variants=(
        Variant(FIRST, "first come, first served: who has begun goes on to the end", "baseline"),
        Variant(SHORTEST, "who asks for the fewest tokens begins first, as if that were known"),
        Variant(
            FEEDBACK,
            "who has had a quantum waits behind those who have not; keys and values are put aside"
            " where there is no room (skip-join, FastServe)",
        ),
        Variant(WORST, "room for prompt and longest answer is held from the beginning", "baseline"),
        Variant(
            PREDICTED,
            "room for prompt and predicted answer; twice as much where that is too little (S3)",
        ),
    ),
    settings=(
        Setting(
            "load", "tokens asked for a second, divided by what the slots serve if all are in use"
        ),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request alone, up to the first that is not, of all"
            " tokens; least of all rounds"
        ),
        metrics.TOKENS_READ.measured(
            "tokens of prompts and answers that passes read for the whole trace"
        ),
        completion("mean completion time", "mean of all requests"),
        completion("median completion time", "median of all requests at load 0.9"),
        completion("completion time, 95 %", "what 95 % do not exceed at load 0.9"),
        completion("completion time, 99 %", "what 99 % do not exceed at load 0.9"),
        gain("gain in mean completion", "mean completion time"),
        gain("gain in completion, 95 %", "completion time that 95 % do not exceed"),
        metrics.GOODPUT,
        # When a request is put aside depends on how long passes take.
        replace(
            metrics.BYTES_MOVED.measured(
                "bytes of keys and values put aside and brought back, mean of rounds, load 0.9"
            ),
            evidence="timed",
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens asked for, divided by the time of the passes, if all requests wait"
        ),
        metrics.SPEED_UP.measured(
            "time with room for the longest divided by the variant's, if all requests wait, pass by"
            " pass in turn; median of rounds",
            relative_to=WORST,
        ),
        Metric(
            "requests at once",
            "requests",
            HIGHER,
            "throughput",
            "counted",
            "requests that a pass computes for, mean of all passes, if all requests wait",
        ),
        Metric(
            "too short",
            "%",
            NEITHER,
            None,
            "counted",
            "answers that are longer than what was reserved for them at first, of all",
        ),
        metrics.PREDICTION_ERROR.measured(
            "of the replay, with costs of passes that were carried out with all requests waiting:"
            " its mean completion time at each load against that of the run in the same round;"
            " median"
        ),
    ),
    series=(Series("mean completion time by load", "load", "", "mean completion time"),),
    headline=(Headline("gain in mean completion", FEEDBACK), Headline("speed-up", PREDICTED)),
    charts=(
        StudyChart(
            "trade",
            "Half of the requests are done by the time on the horizontal axis, and all but one in a"
            " hundred by that on the vertical one. What short requests gain, long ones pay.",
            x="median completion time",
            y="completion time, 99 %",
        ),
        StudyChart(
            "curves",
            "The order matters where requests wait: the closer to the full load, the more.",
            series="mean completion time by load",
        ),
        StudyChart(
            "bars",
            "In the same memory: how many tokens a second where room is held for the longest"
            " answer, and where it is held for the predicted one.",
            y="tokens per second",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
