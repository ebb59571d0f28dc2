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
from casestudies.lab.metrics import HIGHER, Metric
from casestudies.lab.serving import declared
from casestudies.lab.studies.continuous_batching.claims import (
    ALONE,
    ANSWERS,
    ITERATION,
    PADDED,
    REQUEST,
)


class ContinuousBatchingParameters(Parameters):
    """What a reader may set."""

    slots: int = parameter(
        8,
        "Requests that the model computes for at once",
        unit="slots",
        ge=2,
        le=64,
        role="workload",
    )
    requests: int = parameter(
        32, "Requests of a trace", unit="requests", ge=2, le=1000, role="workload"
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
        64,
        "Longest answer; all lengths from one token on are equally likely, or the tail is heavy",
        unit="tokens",
        ge=2,
        le=1024,
        role="workload",
    )
    answers: Literal["uniform", "heavy tail"] = parameter(
        "uniform", "How the lengths of the answers are distributed", role="workload"
    )
    arrivals: Literal["poisson", "bursts"] = parameter(
        "poisson", "How requests come: one by one, or eight at a time", role="workload"
    )
    loads: int = parameter(
        4,
        "Loads at which a trace is served, evenly up to what iteration-level batching can serve",
        unit="loads",
        ge=1,
        le=20,
        role="effort",
    )
    first_token_limit: float = parameter(
        25.0,
        "A request counts for goodput if its first token is there within so many times the time"
        " per token of a request alone",
        unit="x",
        ge=1,
        le=10_000,
        role="workload",
    )
    per_token_limit: float = parameter(
        2.5,
        "A request counts for goodput if its later tokens take, on average, no more than so many"
        " times that time",
        unit="x",
        ge=1,
        le=10_000,
        role="workload",
    )
    rounds: int = parameter(
        2,
        "Times that everything is served: one at a time, with everyone waiting, and at each load",
        unit="rounds",
        ge=2,
        le=100,
        role="effort",
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(60)


def needs(parameters: ContinuousBatchingParameters) -> Needs:
    """Return the memory of the caches, beside what PyTorch and the text take."""
    p = parameters
    token = 2 * p.layers * p.width * 4
    # All ways are served side by side, and so are three of them at all loads.
    held = max(4, 3 * p.loads) * p.slots * (p.longest_prompt + p.longest_answer) * token
    return Needs(memory_gib=1.5 + held / 2**30)


STUDY = Study(
    slug="continuous-batching",
    name="Continuous batching",
    subject="who shares a pass of the model, and for how long others wait",
    summary=(
        "Serves the same requests with the same model and as many slots in three ways: in batches"
        " that stay together until the longest answer has ended, the same without computing for"
        " those that are done, and with a batch that is chosen anew for each pass (iteration-level"
        " scheduling). Checks that every request gets the tokens that it gets alone, counts passes"
        " and used slots, and measures throughput, latency and goodput over the load."
    ),
    limits=(
        "A small model in float32. A pass for few requests is cheaper here than one for many, so an"
        " empty slot costs less than on a GPU, where a pass takes about as long for one as for"
        " eight, with a kernel that reads all caches at once, which this engine does not have. The"
        " engine's clock is the time of its passes and skips the time in which nobody is"
        " there; scheduling, network and tokenization are left out. Caches have all the room that"
        " they need. One trace is drawn and every round serves it: the spread is the machine's and"
        " says nothing of other traces."
    ),
    publications=("yu2022orca",),
    strategies=("continuous-batching",),
    parameters=ContinuousBatchingParameters,
    presets={
        SMOKE: Preset(
            0.1,
            {
                "slots": 2,
                # Two bursts that come one upon the other, so that most wait at the only load.
                "requests": 16,
                "arrivals": "bursts",
                "longest_prompt": 8,
                "longest_answer": 8,
                "loads": 1,
                "rounds": 2,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5, {"loads": 3, "steps": 40}),
        CLAIMS: Preset(9, {"requests": 64, "loads": 6, "rounds": 5}),
        FULL: Preset(45, {"requests": 512, "slots": 16, "loads": 12, "rounds": 9, "steps": 1000}),
    },
    variants=(
        Variant(ALONE, "one slot: who came first, to the end of the answer", "baseline"),
        Variant(
            REQUEST,
            "a batch stays together until its longest answer has ended; who is done leaves and"
            " costs nothing more",
            "baseline",
        ),
        Variant(
            PADDED,
            "the same, where those that are done are computed for until the batch has ended, and"
            " get nothing before (Orca's own baseline)",
            "baseline",
        ),
        Variant(ITERATION, "the batch is chosen anew for each pass: who came first, first"),
    ),
    settings=(
        Setting(
            "load", "requests a second, divided by what iteration-level batching can serve", ""
        ),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request by itself, continued without the engine, up to"
            " the first that is not, of all tokens; least of all rounds"
        ),
        metrics.PASSES.measured(
            "times that the model is gone through if all requests wait from the beginning"
        ),
        metrics.SLOT_USE.measured(
            "tokens asked for, divided by slots and passes, if all requests wait from the beginning"
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens asked for, divided by wall clock: if all requests wait, median of rounds; at a"
            " load, from the first arrival until the last request has left"
        ),
        metrics.SPEED_UP.measured(
            "time of request-level batches divided by the variant's if all requests wait, pass by"
            " pass in turn; median of rounds",
            relative_to=REQUEST,
        ),
        metrics.NORMALIZED_LATENCY.measured(
            "time from a request's arrival until it leaves, divided by its tokens; median of all"
            " requests, median of rounds; one at a time, without the time before it is its turn"
        ),
        metrics.TIME_TO_FIRST_TOKEN.measured(
            "from a request's arrival to its first token, in padded batches with the last of the"
            " batch; median of all requests, median of rounds"
        ),
        metrics.GOODPUT,
        Metric(
            "throughput at equal latency",
            "token/s",
            HIGHER,
            "throughput",
            "timed",
            "tokens per second at which the median normalized latency is twice that of a request"
            " alone, read from the straight lines between the loads; not reported where some round"
            " does not reach it",
        ),
        Metric(
            "gain at equal latency",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "throughput at equal latency divided by that of request-level batches in the same"
            " round, median of rounds",
            relative_to=REQUEST,
        ),
        Metric(
            "gain over padded batches",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "throughput at equal latency divided by that of padded batches in the same round,"
            " median of rounds",
            relative_to=PADDED,
        ),
        metrics.PREDICTION_ERROR.measured(
            "of the replay, with costs of the passes carried out with everyone waiting: its tokens"
            " per second and its median normalized latency at each load, each against those of"
            " the run in the same round; median"
        ),
    ),
    series=(
        Series(
            "normalized latency by throughput",
            "tokens per second",
            "token/s",
            "normalized latency",
        ),
        Series("goodput by load", "load", "of what can be served", "goodput"),
    ),
    headline=(Headline("gain at equal latency", ITERATION), Headline("slot use", ITERATION)),
    charts=(
        StudyChart(
            "curves",
            "Further right is more throughput, lower is less waiting. Where two curves are equally"
            " high, the distance between them is what a batch for each pass gains.",
            series="normalized latency by throughput",
        ),
        StudyChart(
            "curves",
            "Requests served within both limits. A curve that bends down serves more requests than"
            " before and keeps fewer of its promises.",
            series="goodput by load",
        ),
        StudyChart(
            "bars",
            "With request-level batches a slot is empty from the end of its answer to the end of"
            " the longest; padded, it computes for nobody.",
            y="slot use",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
