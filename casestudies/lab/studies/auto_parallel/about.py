"""What the study is, what may be set, and what it measures."""

from dataclasses import replace

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
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.studies.auto_parallel.claims import ANSWERS


class PlanParameters(Parameters):
    """What a reader may set."""

    micro_batches: int = parameter(
        32,
        "Parts of a step's batch that follow each other",
        unit="micro-batches",
        ge=2,
        le=64,
        multiple_of=2,
        role="workload",
    )
    sequences: int = parameter(
        2, "Pieces of text in a micro-batch", unit="sequences", ge=1, le=16, role="workload"
    )
    window: int = parameter(
        64, "Length of a piece of text", unit="tokens", ge=8, le=256, role="workload"
    )
    width: int = parameter(
        128,
        "Width of the three models",
        unit="numbers a token",
        ge=32,
        le=512,
        multiple_of=32,
        role="workload",
    )
    link: float = parameter(
        125.0,
        "Rate of each rank's emulated link; a gigabit Ethernet carries 125",
        unit="MB/s",
        ge=10.0,
        le=100_000.0,
        role="workload",
    )
    cases: int = parameter(
        200,
        "Random small problems on which each search is held against all plans",
        unit="problems",
        ge=1,
        le=10_000,
        role="effort",
    )
    rounds: int = parameter(
        3, "Times that each step is timed", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: PlanParameters) -> Needs:
    """Return a core for each of the two ranks, and memory for two micro-batches on each."""
    tokens = parameters.sequences * parameters.window
    each = 1_500 * parameters.width + 100_000  # bytes of a token, passes and scores
    return Needs(processes=2, memory_gib=3 + 2 * tokens * each // 2**30)


STUDY = Study(
    slug="auto-parallel",
    name="Automatic parallelism",
    subject="plans of parallel training that a search finds by what each plan would cost",
    summary=(
        "A plan says which layers form a stage of a pipeline, how many ranks share each stage and,"
        " for large models, how many split each layer. The study searches plans by a model of"
        " their costs, and checks on random small problems that it finds what trying every plan"
        " does. It looks where the plans stand that Megatron-LM published for GPTs up to a"
        " trillion parameters. For three uneven models it profiles each layer, has the plan"
        " searched and has PipeDream's planner make one, and times synchronous steps of both on two"
        " ranks."
    ),
    limits=(
        "Plans for GPUs are priced by equations and never run: one efficiency for all matrices, no"
        " interleaving, no traffic hidden behind computation. What is timed are two processes of"
        " one machine, so there are few plans to choose from, and the link between them is"
        " emulated. Micro-batches and link were chosen so that the two planners differ; at other"
        " rates they often agree. The search's price is not DAPPLE's formula: each run says whether"
        " that would choose the same plan. DAPPLE's own models and clusters are others."
    ),
    publications=("zheng2022alpa", "fan2020dapple", "narayanan2021ptdp"),
    strategies=("automatic-parallelism",),
    parameters=PlanParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "micro_batches": 4,
                "sequences": 1,
                "window": 8,
                "width": 32,
                "cases": 20,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1),
        CLAIMS: Preset(3, {"rounds": 15}),
        FULL: Preset(20, {"width": 256, "rounds": 25, "cases": 1_000}),
    },
    variants=(
        Variant("one process", "the whole batch in one process, without a plan", "baseline"),
        Variant(
            "pipedream",
            "the plan of PipeDream's planner, which makes the slowest stage fast as if steps never"
            " ended and weights were sent meanwhile",
            "baseline",
        ),
        Variant(
            "searched plan",
            "the plan of the shortest synchronous step: filling and emptying the pipeline, the"
            " slowest stage and the all-reduce counted",
        ),
        Variant("any plan", "each plan that there is for two ranks", "control"),
        Variant("published plan", "Megatron-LM's own plan for a GPT; priced only", "control"),
    ),
    settings=(
        Setting("model", "one of three models whose layers are uneven"),
        Setting("search", "what is searched: stages of layers, or degrees of three kinds"),
        Setting("recompute", "whether the search may choose what is recomputed"),
        Setting("size", "parameters of the GPT", "10^9 parameters"),
        Setting("time", "whether a time is what the planner predicts or what a clock shows"),
    ),
    metrics=(
        Metric(
            "mismatches",
            "problems",
            LOWER,
            "quality",
            "counted",
            "problems on which the search found another best time than trying all plans did, or a"
            " plan where none fits; of degrees, another one among the best three",
        ),
        Metric(
            "plans over memory",
            "problems",
            LOWER,
            "memory",
            "counted",
            "problems on which the search returned a plan that needs more memory than there is",
        ),
        Metric(
            "plans priced",
            "fraction",
            LOWER,
            "cost",
            "counted",
            "plans that the search priced, of all plans, at the sizes that Megatron-LM published",
        ),
        Metric(
            "rank of the plan",
            "",
            LOWER,
            "quality",
            "computed",
            "place of the published degrees (data, tensor, pipeline) among all that fit, each with"
            " its best micro-batch, by the time of a step in the cost model",
        ),
        Metric(
            "time over the best",
            "x",
            LOWER,
            "quality",
            "computed",
            "time of a step in the cost model divided by that of the best plan",
            relative_to="the best plan",
        ),
        Metric(
            "time over DAPPLE's best",
            "x",
            LOWER,
            "quality",
            "timed",
            "step of the searched plan by DAPPLE's own formula, from the run's profile, divided by"
            " the least of all plans; 1 where DAPPLE's planner would choose the same",
            relative_to="the best plan",
        ),
        metrics.TRAINING_LOSS.measured(
            "mean negative log-likelihood of the tokens of one step, before it changes the weights"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest relative difference from one process: of the loss, or of the gradient of a"
            " weight matrix, by norms"
        ),
        replace(
            metrics.BYTES_SENT.measured(
                "bytes that a rank sends to others in a step, mean of ranks; as the equations say,"
                " or the run fails. By the plan that this machine's times made the planner choose"
            ),
            evidence="timed",
        ),
        Metric(
            "predicted step time",
            "ms",
            LOWER,
            "throughput",
            "timed",
            "time of a step as the search prices it, with the processor's time of each layer as"
            " profiled in the run",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of one step's forwards, backwards and sums of gradients on two ranks with a"
            " thread each, without the optimizer; emulated link; alternating, median of rounds"
        ),
        metrics.PREDICTION_ERROR.measured(
            "how far the predicted step time is from the median of those measured"
        ),
        metrics.SPEED_UP.measured(
            "step time of PipeDream's plan divided by the variant's, alternating, median of rounds;"
            " 1 where both are the same plan",
            relative_to="pipedream",
        ),
        Metric(
            "predicted speed-up",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "predicted step time of PipeDream's plan divided by that of the searched plan",
            relative_to="pipedream",
        ),
    ),
    series=(
        Series("step time by cut", "layers of the first stage", "", "step time"),
        Series("speed-up by link", "rate of the link", "MB/s", "predicted speed-up"),
        Series("rank by size", "parameters", "10^9", "rank of the plan"),
    ),
    headline=(
        Headline("speed-up", "searched plan", {"model": "tapering"}),
        Headline("mismatches", "searched plan", {"search": "degrees"}),
    ),
    charts=(
        StudyChart(
            "curves",
            "Where the model is cut decides how long a step takes. The point farthest to the right"
            " has all layers on both ranks, which is data parallelism. The curve is predicted for"
            " all plans, the points are measured, for the plans that were chosen. Points that all"
            " lie above the curve are of little harm; points in another order than predicted mean"
            " that the search chose wrongly.",
            series="step time by cut",
        ),
        StudyChart(
            "curves",
            "Over slow links both planners make a pipeline, over fast ones both choose data"
            " parallelism, and the ratio is 1. Between them PipeDream's planner still avoids an"
            " all-reduce that comes once for all micro-batches of a step, as if it came with each.",
            series="speed-up by link",
        ),
        StudyChart(
            "curves",
            "Rank 1 is the best plan of the cost model. Where the search may choose what is"
            " recomputed it often finds others than the published plans, which recomputed all"
            " layers.",
            series="rank by size",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
