"""What the study is, what may be set, and what it measures."""

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
from casestudies.lab.studies.cascade.claims import (
    ANSWERS,
    EARLY_EXIT,
    LARGE,
    SMALL,
    SMALL_TO_LARGE,
)

EXIT, RANDOM, PERFECT = "exit", "random mixing", "perfect choice"
DOCUMENTED = ("numpy", "pandas")
SHORTEST = 32  # tokens of a query


class CascadeParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        192,
        "Width of the small model, which is trained in the run",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="method",
    )
    layers: int = parameter(
        2, "Blocks of the small model", unit="blocks", ge=1, le=12, role="method"
    )
    steps: int = parameter(
        120,
        "Training steps of the small model, of 16 windows each",
        unit="steps",
        ge=1,
        le=100_000,
        role="method",
    )
    exit_after: int = parameter(
        20,
        "Blocks of the large model before the early exit, at most all but one",
        unit="blocks",
        ge=1,
        le=200,
        role="method",
    )
    exit_windows: int = parameter(
        16,
        "Windows that the exit is fitted to",
        unit="windows",
        ge=1,
        le=1024,
        role="method",
    )
    docstrings: bool = parameter(
        True, "Also train and evaluate on the docstrings of NumPy and pandas", role="workload"
    )
    window: int = parameter(
        128,
        f"Length of a piece of text; what follows its first {SHORTEST} tokens, 33, and so on, is"
        " asked",
        unit="tokens",
        ge=48,
        le=1024,
        role="workload",
    )
    threshold_windows: int = parameter(
        24,
        "Pieces of text that thresholds are chosen on",
        unit="windows",
        ge=2,
        le=4096,
        role="effort",
    )
    evaluation_windows: int = parameter(
        24,
        "Pieces of other text that accuracy is measured on",
        unit="windows",
        ge=2,
        le=4096,
        role="workload",
    )
    timed: int = parameter(
        16,
        "Queries of the other text whose latency is measured, one at a time",
        unit="queries",
        ge=2,
        le=4096,
        role="workload",
    )
    rounds: int = parameter(
        2, "Times that each of them is measured", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: CascadeParameters) -> Needs:
    """Return the model's memory and the packages whose docstrings are read."""
    return Needs(memory_gib=3, libraries=DOCUMENTED if parameters.docstrings else ())


STUDY = Study(
    slug="cascade",
    name="Model cascade",
    subject="a cheap answer where it is sure, a large model for the rest",
    summary=(
        "Asks what token follows a text: first a small model trained in the run, or an exit in the"
        " middle of a large one, and the large model where that is not sure. Chooses how sure it"
        " must be on other text, and holds accuracy, operations and latency against the large"
        " model alone and against sending queries to either at random."
    ),
    limits=(
        "Answers are single tokens, where services answer with whole texts and score them with a"
        " model of their own: FrugalGPT’s learned scores, Tabi’s pruning of words and its"
        " ensembles are not here. The small model is trained on text of the kind that is asked"
        " about and the large one is not, so they err differently; docstrings of one package repeat"
        " sentences across modules, which a small model can learn by heart. Where no threshold is"
        " as accurate as was aimed at, all queries go to the large model too. Queries are answered"
        " one at a time: under load a cascade also shortens queues. Prices of commercial services"
        " are not operations."
    ),
    publications=("chen2023frugalgpt", "wang2023tabi"),
    strategies=("model-cascade",),
    parameters=CascadeParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "width": 32,
                "layers": 1,
                "steps": 3,
                "exit_windows": 1,
                "docstrings": False,
                "window": 48,
                "threshold_windows": 2,
                "evaluation_windows": 2,
                "timed": 2,
            },
        ),
        QUICK: Preset(1.7),
        CLAIMS: Preset(
            4,
            {
                "steps": 400,
                "exit_windows": 32,
                "threshold_windows": 40,
                "evaluation_windows": 40,
                "timed": 200,
            },
        ),
        FULL: Preset(
            30,
            {
                "steps": 2000,
                "exit_windows": 128,
                "threshold_windows": 160,
                "evaluation_windows": 160,
                "timed": 400,
                "rounds": 5,
            },
        ),
    },
    variants=(
        Variant(LARGE, "every query to the large model", "baseline"),
        Variant(SMALL, "every query to the small model: the cascade with the threshold 0"),
        Variant(EXIT, "every query to the exit: early exit with the threshold 0"),
        Variant(
            SMALL_TO_LARGE, "the small model, and where it is not sure the large one from the start"
        ),
        Variant(EARLY_EXIT, "the exit, and where it is not sure the blocks that remain"),
        Variant(RANDOM, "either model at random, at the same cost", "control"),
        Variant(
            PERFECT,
            "the small model, and the large one only where that makes a wrong answer right",
            "control",
        ),
    ),
    settings=(
        Setting(
            "aim",
            "what the threshold was chosen for on other text: accuracy beside the large model’s at"
            " the least cost, or the greatest accuracy at no more than the large model’s cost",
        ),
        Setting("cascade", "between whose two models is chosen"),
    ),
    metrics=(
        Metric(
            "accuracy",
            "%",
            HIGHER,
            "quality",
            "computed",
            "queries whose likeliest next token is that of the text",
        ),
        Metric(
            "accuracy gain",
            "points",
            HIGHER,
            "quality",
            "computed",
            "accuracy minus the large model's on the same queries",
        ),
        Metric(
            "standard error",
            "points",
            LOWER,
            None,
            "computed",
            "that of the accuracy gain, each window counted as one observation",
        ),
        Metric(
            "gain over mixing",
            "points",
            HIGHER,
            "quality",
            "computed",
            "accuracy minus that of sending queries to either model at random at as many operations"
            " on average",
        ),
        Metric(
            "kept",
            "%",
            NEITHER,
            None,
            "computed",
            "queries that the first step answers",
        ),
        metrics.OPERATIONS.measured(
            "of a query, on average: matrix products of all its tokens in the blocks that they"
            " pass, and of the last one's logits"
        ),
        Metric(
            "operations saved",
            "%",
            HIGHER,
            "cost",
            "computed",
            "operations of a query less than the large model's, on average",
        ),
        Metric(
            "mean latency",
            "ms",
            LOWER,
            "latency",
            "timed",
            "mean over queries of the wall clock of the steps that a query takes, each step timed"
            " by itself in turn, median of rounds",
        ),
        Metric(
            "tail latency",
            "ms",
            LOWER,
            "latency",
            "timed",
            "99th percentile over the same queries, median of rounds",
        ),
        Metric(
            "latency saved",
            "%",
            HIGHER,
            "latency",
            "timed",
            "mean latency less than the large model's, median of rounds",
        ),
        Metric(
            "tail latency ratio",
            "x",
            LOWER,
            "latency",
            "timed",
            "tail latency divided by the large model's, median of rounds",
            relative_to=LARGE,
        ),
        metrics.SAME_TOKENS.measured(
            "timed queries whose answer, asked one at a time at the threshold 0 and at the"
            " threshold 1, is that of the first and of the large model in their windows"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a probability between the cascade at the threshold 0 or 1 and"
            " the first or the large model alone, of the same texts"
        ),
        metrics.TRAINING_LOSS,
    ),
    series=(
        Series("accuracy by operations saved", "operations saved", "%", "accuracy"),
        Series("gain over mixing by operations saved", "operations saved", "%", "gain over mixing"),
    ),
    headline=(
        Headline("operations saved", SMALL_TO_LARGE),
        Headline("accuracy gain", SMALL_TO_LARGE),
        Headline("operations saved", EARLY_EXIT),
    ),
    charts=(
        StudyChart(
            "curves",
            "From a cascade that asks the large model about everything, at the left, to the cheap"
            " answer alone, at the right. A cascade is worth it above the straight lines of random"
            " mixing, and makes the large model better where it rises above its left end.",
            series="accuracy by operations saved",
        ),
        StudyChart(
            "curves",
            "What choosing by confidence gains over choosing at random. At zero a coin does as"
            " well, below it better; at the left end the first step was paid for nothing.",
            series="gain over mixing by operations saved",
        ),
        StudyChart(
            "bars",
            "How many operations are saved by a threshold chosen on other text. Ask whether the"
            " accuracy that was asked for was kept, in the table.",
            y="operations saved",
        ),
    ),
    answers=ANSWERS,
    accepts=("model", "text"),
    needs=needs,
)
