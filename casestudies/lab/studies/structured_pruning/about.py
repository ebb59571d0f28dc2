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
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.result import Result

SURGEON, MASKED, SCATTERED = "surgeon", "zeros kept", "scattered zeros"
BERT_STORED = "BERT-base, block-sparse"
HALF_THE_NEURONS = {"part": "neurons", "share": 0.5}
SPARSITIES = (0.8, 0.9)  # at which the rule asks for the bytes


class StructuredPruningParameters(Parameters):
    """What a reader may set."""

    share: float = parameter(
        0.5,
        "Largest share of units that is removed",
        unit="fraction",
        ge=0.05,
        le=0.6,
        role="method",
    )
    shares: int = parameter(
        2,
        "Shares that are tried, at even distances up to it",
        unit="shares",
        ge=1,
        le=8,
        role="effort",
    )
    blocks: int = parameter(
        30,
        "Blocks that are pruned, from the first on, or all where there are fewer; SmolLM2 has 30",
        unit="blocks",
        ge=1,
        le=1000,
        role="workload",
    )
    length: int = parameter(
        256, "Tokens of a window", unit="tokens", ge=32, le=2048, role="workload"
    )
    calibration_windows: int = parameter(
        8,
        "Windows that show what comes to each layer",
        unit="windows",
        ge=1,
        le=256,
        role="effort",
    )
    evaluation_windows: int = parameter(
        4, "Windows that perplexity is of", unit="windows", ge=1, le=256, role="workload"
    )
    rounds: int = parameter(
        5, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def compound(result: Result) -> Judgement:
    """oBERT 0: bytes of a block-sparse encoder in 8 bits, embeddings included."""
    found = {
        sparsity: result.value("compound compression", BERT_STORED, sparsity=sparsity)
        for sparsity in SPARSITIES
    }
    return judged(
        *(
            Number(f"dense / stored at {sparsity:.0%} sparsity", ratio, "x", claimed=True)
            for sparsity, ratio in found.items()
        ),
        agrees=found[0.9] >= 10,
    )


def needs(parameters: StructuredPruningParameters) -> Needs:
    """Return the memory of the model, two copies, Gram matrices and activations."""
    read = parameters.length * (2 + parameters.calibration_windows)
    return Needs(memory_gib=3 + read * 50e3 / 2**30)


STUDY = Study(
    slug="structured-pruning",
    name="Structured pruning",
    subject="whole neurons and heads removed, so that matrices get smaller",
    summary=(
        "Removes neurons, and query heads with the keys and values that they share, from a real"
        " model: at random, by magnitude, by what each adds to its layer, and by the optimal brain"
        " surgeon, where the rest of a layer makes up for what leaves. Measures perplexity, size"
        " and speed, also with zeros left in place, and counts the bytes of BERT stored as oBERT"
        " compresses it."
    ),
    limits=(
        "One small model, pruned in one shot without training after, which oBERT has and which"
        " makes up for most of the loss; its weights are stored in 4 bits. With three groups of"
        " heads in a block, heads can only go in thirds of a layer. Speed is of dense products in"
        " float32: engines for sparse products, as oBERT’s, are not here."
    ),
    publications=("kurtic2022obert",),
    strategies=("pruning",),
    parameters=StructuredPruningParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "shares": 1,
                "blocks": 2,
                "length": 32,
                "calibration_windows": 2,
                "evaluation_windows": 1,
                "rounds": 2,
            },
        ),
        QUICK: Preset(
            1.5,
            {
                "shares": 1,
                "length": 192,
                "calibration_windows": 4,
                "evaluation_windows": 3,
                "rounds": 3,
            },
        ),
        # The claim is counted; more text to fit to and to test on only makes the rest surer.
        CLAIMS: Preset(4, {"calibration_windows": 24, "evaluation_windows": 6, "rounds": 9}),
        FULL: Preset(
            30,
            {
                "shares": 5,
                "calibration_windows": 64,
                "evaluation_windows": 64,
                "length": 512,
                "rounds": 31,
            },
        ),
    },
    variants=(
        Variant("dense", "the model as it is", "baseline"),
        Variant("random", "as many units at random", "control"),
        Variant("magnitude", "those with the smallest weights", "baseline"),
        Variant("contribution", "those that alone add least to what their layer gives"),
        Variant(
            SURGEON,
            "those of a block that cost least once the rest makes up for them, as many as by"
            " contribution; the weights of the layer that reads them change",
        ),
        Variant(MASKED, "the surgeon’s model with zeros where the units are read", "control"),
        Variant(
            SCATTERED,
            "as many zeros in each row of the same matrices, by size times input (Wanda):"
            " nothing gets smaller",
            "control",
        ),
        Variant(
            BERT_STORED,
            "BERT-base’s shape in blocks of four, 8 bits and 16-bit places, its embeddings in 8"
            " bits: counted, with no quality",
        ),
    ),
    settings=(
        Setting("part", "what is removed"),
        Setting("share", "share of the units that is removed"),
        Setting("sparsity", "share of the encoder’s blocks of four that is zero"),
    ),
    metrics=(
        metrics.PERPLEXITY,
        metrics.PERPLEXITY_RATIO,
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit between the smaller model and the one with zeros"
        ),
        Metric("parameters", "million", LOWER, "model-size", "counted", "numbers of all weights"),
        metrics.OPERATIONS.measured(
            "multiplications and additions of a token with the weights, the head’s among them;"
            " attention’s scores left out"
        ),
        Metric(
            "cache per token",
            "KiB",
            LOWER,
            "memory",
            "counted",
            "bytes of a token’s keys and values in all layers, in float32",
        ),
        Metric(
            "forward time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of one window through all blocks, without the head, alternating, median of"
            " rounds",
        ),
        metrics.SPEED_UP.measured(
            "dense forward time divided by the variant’s, alternating, median of rounds",
            relative_to="dense",
        ),
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of one token more after a window with its keys and values kept, head"
            " included, alternating, median of rounds"
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
        Metric(
            "encoder size",
            "MiB",
            LOWER,
            "model-size",
            "counted",
            "bytes of all weights as they are stored, places, rows and scales among them",
        ),
        Metric(
            "compound compression",
            "x",
            HIGHER,
            "model-size",
            "counted",
            "bytes of the same encoder in dense float32 divided by the encoder size",
        ),
    ),
    series=(
        Series("perplexity by neurons removed", "neurons removed", "%", "perplexity"),
        Series("perplexity by head groups removed", "head groups removed", "%", "perplexity"),
    ),
    headline=(
        Headline("perplexity ratio", SURGEON, HALF_THE_NEURONS),
        Headline("speed-up", SURGEON, HALF_THE_NEURONS),
    ),
    charts=(
        StudyChart(
            "curves",
            "All but scattered zeros lose as many whole neurons. What separates them is which ones"
            " go, and for the surgeon that the rest makes up and that it reads what comes through"
            " the pruned blocks.",
            series="perplexity by neurons removed",
        ),
        StudyChart(
            "curves",
            "Three query heads leave with the keys and values that they share. Scattered zeros"
            " are free to lie anywhere in a row, and make nothing smaller.",
            series="perplexity by head groups removed",
        ),
        StudyChart(
            "bars",
            "Why a pruned model is often not faster: zeros left in place cost as much as other"
            " numbers. Only smaller matrices take less time.",
            y="speed-up",
        ),
    ),
    answers=(Answer("kurtic2022obert-0", "fefe30d8b50b", compound),),
    accepts=("model", "text"),
    needs=needs,
)
