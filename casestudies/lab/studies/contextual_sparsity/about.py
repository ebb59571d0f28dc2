"""What the study is, what may be set, and what it measures."""

from casestudies.lab import metrics
from casestudies.lab.contract import (
    CLAIMS,
    FULL,
    QUICK,
    SMOKE,
    Answer,
    Headline,
    Judgement,
    Number,
    Parameters,
    Preset,
    Series,
    Setting,
    Study,
    StudyChart,
    Variant,
    judged,
    not_run,
    parameter,
)
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric
from casestudies.lab.result import Result

DENSE, PREDICTED, NEURONS = "dense", "predicted", "predicted neurons only"
ORACLE, STATIC, RANDOM = "oracle", "always the same", "random"
WINDOW = 64  # tokens
BATCHES = (1, 2, 4, 8, 16)  # sequences that are decoded together
HEAD_WIDTH = 32


class ContextualSparsityParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        512,
        "Width of the model that is trained",
        unit="numbers",
        ge=64,
        le=4096,
        multiple_of=32,
        role="workload",
    )
    expansion: int = parameter(
        8, "Neurons of a block for each number of the width", unit="x", ge=1, le=32, role="workload"
    )
    layers: int = parameter(2, "Blocks of that model", unit="blocks", ge=2, le=48, role="workload")
    steps: int = parameter(
        60,
        f"Steps of training, each on 8 windows of {WINDOW} tokens",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )
    penalty: float = parameter(
        0.1,
        "What a block’s mean activation costs in training, beside the loss; 0 trains as usual",
        unit="nats",
        ge=0.0,
        le=100.0,
        role="workload",
    )
    ahead: int = parameter(
        1,
        "Blocks that a predictor looks ahead: 0 reads what enters its own block",
        unit="blocks",
        ge=0,
        le=8,
        role="method",
    )
    rank: int = parameter(
        64, "Rank of a predictor’s matrices", unit="numbers", ge=1, le=1024, role="method"
    )
    tolerance: float = parameter(
        0.01,
        "By how much perplexity may rise on other text where neurons and heads are chosen",
        unit="fraction",
        ge=0.001,
        le=1.0,
        role="method",
    )
    predictor_steps: int = parameter(
        200, "Steps of training of each predictor", unit="steps", ge=1, le=20_000, role="effort"
    )
    recorded_windows: int = parameter(
        192,
        "Windows whose activations predictors are trained on",
        unit="windows",
        ge=1,
        le=4096,
        role="effort",
    )
    evaluation_windows: int = parameter(
        32,
        "Windows that perplexity is of, and that are decoded together",
        unit="windows",
        ge=BATCHES[-1],
        le=1024,
        role="workload",
    )
    rounds: int = parameter(
        9, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def latency(result: Result) -> Judgement:
    """Deja Vu 0: how much faster a token is decoded without what is predicted to be silent."""
    for units in ("neurons", "heads"):
        if result.value(f"{units} read", PREDICTED) >= 100:
            return not_run(f"the rule asks for {units} to be skipped; this run read all of them")
    faster = result.value("speed-up of a token", PREDICTED)
    worse = result.value("perplexity ratio", PREDICTED)
    return judged(
        Number("time per token, dense / predicted", faster, "x", claimed=True),
        Number("perplexity, predicted / dense", worse, "x"),
        agrees=faster >= 1.3 and worse <= 1.02,
    )


def needs(parameters: ContextualSparsityParameters) -> Needs:
    """Return the memory of the model in training, of recorded activations, and of two copies."""
    p = parameters
    weights = p.layers * (4 + 2 * p.expansion) * p.width**2
    windows = p.recorded_windows + p.evaluation_windows
    recorded = windows * WINDOW * p.layers * p.width * (p.expansion + 2)
    return Needs(memory_gib=1 + (32 * weights + 6 * recorded) / GIB)


STUDY = Study(
    slug="contextual-sparsity",
    name="Contextual sparsity",
    subject="for each token only the neurons and heads that a predictor asks for",
    summary=(
        "Trains a model with ReLU, most of whose neurons are silent for most tokens, and for each"
        " block a small predictor that reads what enters the block before. A token is then decoded"
        " with the neurons and heads that the predictors choose, whose weights are read where they"
        " lie. Held against the same trained model with all of them, an oracle, the same units for"
        " every token and random ones."
    ),
    limits=(
        "A small model trained for a minute or two, whose neurons are silent because training makes"
        " speaking cost something; OPT-175B is so by itself, after far more text. On one device"
        " predictors run between the blocks, so their time counts in full, where Deja Vu hides it"
        " beside other work; nor are there its fused kernels, or ranks that share layers."
    ),
    publications=("liu2023dejavu",),
    strategies=("pruning", "algorithmic-optimization"),
    parameters=ContextualSparsityParameters,
    presets={
        SMOKE: Preset(
            0.1,
            {
                "width": 64,
                "steps": 4,
                "rank": 8,
                "predictor_steps": 5,
                "recorded_windows": 4,
                "evaluation_windows": 16,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5, {"recorded_windows": 128, "rounds": 7}),
        CLAIMS: Preset(
            6,
            {
                "width": 768,
                "steps": 200,
                "predictor_steps": 300,
                "recorded_windows": 256,
                "evaluation_windows": 64,
                "rounds": 21,
            },
        ),
        FULL: Preset(
            60,
            {
                "width": 768,
                "layers": 4,
                "steps": 1000,
                "predictor_steps": 1000,
                "recorded_windows": 512,
                "evaluation_windows": 128,
                "rounds": 31,
            },
        ),
    },
    variants=(
        Variant(DENSE, "all neurons and heads", "baseline"),
        Variant(PREDICTED, "those neurons and heads that predictors choose"),
        Variant(NEURONS, "those neurons that predictors choose, and all heads", "ablation"),
        Variant(
            ORACLE, "as many that give most to this token, which nobody knows ahead", "control"
        ),
        Variant(
            STATIC, "as many that give most on average, for every token: pruned for good", "control"
        ),
        Variant(RANDOM, "as many at random, drawn anew for each token", "control"),
    ),
    settings=(
        Setting("block", "of which block, the first being 1"),
        Setting("batch", "that are decoded together", "sequences", one="sequence"),
    ),
    metrics=(
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of one token more with keys and values kept, one sequence, the head"
            " included, mean of 16 tokens of text, alternating, median of rounds; random units are"
            " drawn ahead, so that theirs is the time without predictors"
        ),
        Metric(
            "speed-up of a token",
            "x",
            HIGHER,
            "latency",
            "timed",
            "dense time per token divided by the variant’s, alternating, median of rounds",
            relative_to="dense",
        ),
        metrics.PERPLEXITY,
        metrics.PERPLEXITY_RATIO,
        Metric(
            "neurons read",
            "%",
            LOWER,
            "memory",
            "counted",
            "neurons whose weights are read for a step, of all; with several sequences those that"
            " any of them asks for",
        ),
        Metric(
            "heads read",
            "%",
            LOWER,
            "memory",
            "counted",
            "heads that are computed for a token, of all; keys and values are of all",
        ),
        Metric(
            "active neurons",
            "%",
            NEITHER,
            None,
            "computed",
            "neurons of a block that say something other than zero, mean over tokens of the text"
            " kept apart",
        ),
        Metric(
            "recall",
            "%",
            HIGHER,
            "quality",
            "computed",
            "of what a block’s neurons give, each by its activation and the length of its weights,"
            " the share of those that are chosen, on the text kept apart",
        ),
        Metric(
            "weights read",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes of the matrices that a token reads, those of predictors and the head included",
        ),
        Metric(
            "operations of a token",
            "MFLOP",
            LOWER,
            "cost",
            "counted",
            "a multiplication and an addition for each number of a matrix that a token reads;"
            " attention’s scores left out",
        ),
        Metric(
            "speed-up of neurons",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "dense time of all blocks’ neurons divided by that of predicting, gathering and"
            " computing those that any sequence asks for, alternating, median of rounds",
            relative_to="dense",
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit from the dense model’s, in float64, where every neuron"
            " that speaks is computed, and no other"
        ),
        metrics.TRAINING_LOSS,
    ),
    series=(
        Series("perplexity by neurons read", "neurons read", "%", "perplexity ratio"),
        Series("neurons read by batch", "batch", "sequences", "neurons read"),
        Series("speed-up by batch", "batch", "sequences", "speed-up of neurons"),
    ),
    headline=(Headline("speed-up of a token", PREDICTED), Headline("perplexity ratio", PREDICTED)),
    charts=(
        StudyChart(
            "curves",
            "How few neurons do. Against the same neurons for every token one sees what context"
            " gains, which a model pruned for good cannot have; against the oracle, what prediction"
            " loses. Below 1, what was left out did this briefly trained model more harm than"
            " good.",
            series="perplexity by neurons read",
        ),
        StudyChart(
            "curves",
            "Why this is for one sequence at a time: each asks for other neurons, and what any of"
            " them asks for has to be read. Random ones are the equation for independent choices;"
            " tokens of text share more.",
            series="neurons read by batch",
        ),
        StudyChart(
            "curves",
            "Where the advantage ends: a dense product reads each weight once for all sequences,"
            " while more and more neurons are chosen, and copied first so that a product has them"
            " side by side.",
            series="speed-up by batch",
        ),
    ),
    answers=(Answer("liu2023dejavu-0", "78a0f6a983ea", latency),),
    accepts=("text",),
    needs=needs,
)
