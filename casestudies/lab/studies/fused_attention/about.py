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
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import LOWER, Metric
from casestudies.lab.result import Result

ONE_KERNEL = "one kernel"
ENCODER = "encoder training speed-up"
ENCODER_LENGTHS = (1024, 2048, 4096)
ODD_LENGTH = 333  # of what is held against float64; no tile divides it


class FusedAttentionParameters(Parameters):
    """What a reader may set."""

    heads: int = parameter(9, "Heads of queries", unit="heads", ge=1, le=128, role="workload")
    head_width: int = parameter(
        64, "Width of a head", unit="numbers", ge=8, le=256, multiple_of=8, role="workload"
    )
    longest: int = parameter(
        2048,
        "Longest text, in steps of two from 256 on",
        unit="tokens",
        ge=256,
        le=32_768,
        role="workload",
    )
    tile: int = parameter(
        128, "Queries and keys of a tile", unit="tokens", ge=8, le=2048, role="method"
    )
    windows: int = parameter(
        4,
        "Pieces of text that perplexity is measured on",
        unit="windows",
        ge=1,
        le=256,
        role="workload",
    )
    window: int = parameter(
        512, "Length of such a piece", unit="tokens", ge=16, le=2048, role="workload"
    )
    training_layers: int = parameter(
        2,
        "Blocks of GPT-2 small’s shape in the training step that is timed; the model has 12",
        unit="blocks",
        ge=1,
        le=12,
        role="workload",
    )
    training_tokens: int = parameter(
        1024, "Tokens of that training step", unit="tokens", ge=16, le=4096, role="workload"
    )
    rounds: int = parameter(
        5, "Times that each is measured", unit="rounds", ge=2, le=100, role="effort"
    )


def training_of_gpt2(result: Result) -> Judgement:
    """Claim 1: GPT-2 trains 3 x as fast, 1,024 tokens, 16 bit, on a GPU."""
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    asked = {"training_layers": 12, "training_tokens": 1024}
    if any(result.parameters[name] != value for name, value in asked.items()):
        return not_run("asks for all 12 blocks and 1,024 tokens")
    ratio = result.value("training speed-up", "stock")
    return judged(
        Number(
            "training speed-up of PyTorch’s fused attention", ratio, "x by definition", claimed=True
        ),
        supported=ratio >= 3.0,
        agrees=ratio >= 1.3,
    )


def training_of_an_encoder(result: Result) -> Judgement:
    """Claim 2: an encoder of the Long-Range Arena trains 2.4 x as fast, on a GPU."""
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    ratios = {n: result.value(ENCODER, "stock", length=n) for n in ENCODER_LENGTHS}
    mean = sum(ratios.values()) / len(ratios)
    return judged(
        Number(
            "encoder training speed-up, mean over lengths", mean, "x by definition", claimed=True
        ),
        *(Number(f"of {n:,} tokens", ratio, "x by definition") for n, ratio in ratios.items()),
        supported=mean >= 2.4,
        agrees=mean >= 1.3,
    )


def needs(parameters: FusedAttentionParameters) -> Needs:
    """Return the scores of the longest text three times over, and a model."""
    scores = 3 * 4 * parameters.heads * parameters.longest**2
    step = 12 * 12 * parameters.training_layers * parameters.training_tokens**2
    return Needs(memory_gib=2.5 + max(scores, step) / 2**30)


STUDY = Study(
    slug="fused-attention",
    name="Fused attention",
    subject="scores made and used up tile by tile",
    summary=(
        "Computes attention by its definition, tile by tile with an online softmax as"
        " FlashAttention does, and by PyTorch’s own fused kernel; checks that a language model says"
        " the same with each, and measures the memory and the time that they take as the text"
        " grows."
    ),
    limits=(
        "On a CPU the scores stay in a cache that a GPU does not have, so what fusing saves in time"
        " is another number there. Our tiles are small tensors moved by Python, for reading, not"
        " for speed. Dropout and the backward pass by tiles are left to PyTorch."
    ),
    publications=("dao2022flashattention",),
    strategies=("layer-specific-kernels", "algorithmic-optimization"),
    parameters=FusedAttentionParameters,
    presets={
        SMOKE: Preset(
            0.3,
            {
                "longest": 256,
                "windows": 1,
                "window": 64,
                "training_layers": 1,
                "training_tokens": 64,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(1.5, {"longest": 256, "windows": 1, "training_layers": 12}),
        FULL: Preset(8, {"longest": 8192, "windows": 16, "training_layers": 12, "rounds": 9}),
    },
    variants=(
        Variant("definition", "all scores of a head are held at once", "baseline"),
        Variant("tiles", "FlashAttention’s algorithm 1 in plain PyTorch, to be read"),
        Variant("stock", "PyTorch’s fused kernel"),
        Variant(ONE_KERNEL, "the loop over tiles as one kernel of ours, in Triton; on a GPU only"),
    ),
    settings=(
        Setting("precision", "type of the numbers, where it is not float32"),
        Setting("length", "tokens of the text", "tokens", one="token"),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference from the definition in float64, of random queries, keys and values"
            " of an odd length; the float32 definition’s own rounding beside it; in bfloat16 as a"
            " share of the largest number"
        ),
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the evaluation text, by the bundled model"
            " with its attention computed so"
        ),
        Metric(
            "attention memory",
            "MiB",
            LOWER,
            "memory",
            "timed",  # PyTorch's kernel has a buffer for each thread
            "most bytes that one call of attention holds at one time beyond its inputs, by the"
            " allocator",
        ),
        metrics.BYTES_MOVED.measured(
            "numbers of 4 bytes between slow and fast memory if a tile is all that fast memory"
            " holds, counted over the loops’ own tiles; by definition scores are written and read"
            " twice"
        ),
        Metric(
            "attention time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of one call of attention, alternating, median of rounds; in bfloat16 of so"
            " many texts at once that they have 16,384 tokens",
        ),
        metrics.SHARE_OF_COPYING.measured(
            "time in which the GPU copies as many bytes as queries, keys, values and outputs have,"
            " of the median time of attention in bfloat16"
        ),
        metrics.SHARE_OF_BFLOAT16_RATE.measured(
            "time in which the GPU does as many operations in a large bfloat16 product as each"
            " token’s attention to those before it needs, of the same time: the larger of both"
            " shares tells what bounds it"
        ),
        metrics.SPEED_UP.measured(
            "time by definition divided by the variant’s, of one call, alternating, median of"
            " rounds",
            relative_to="definition",
        ),
        Metric(
            "training speed-up",
            "x",
            metrics.HIGHER,
            "throughput",
            "timed",
            "time of a training step (forward, backward, AdamW) by definition divided by the"
            " variant’s; a model of GPT-2 small’s shape with random weights, one sequence, bfloat16"
            " on a GPU and float32 on a CPU, alternating, median of rounds",
            relative_to="definition",
        ),
        Metric(
            ENCODER,
            "x",
            metrics.HIGHER,
            "throughput",
            "timed",
            "time of a training step (forward, backward, AdamW) by definition divided by the"
            " variant’s; an encoder of 4 layers, 256 wide, as for the texts of the Long-Range"
            " Arena, 4 of them at once, random weights in bfloat16, on a GPU, alternating, median"
            " of rounds",
            relative_to="definition",
        ),
    ),
    series=(
        Series("attention memory by length", "length", "tokens", "attention memory"),
        Series("attention time by length", "length", "tokens", "attention time"),
    ),
    headline=(Headline("perplexity", "stock"), Headline("training speed-up", "stock")),
    charts=(
        StudyChart(
            "curves",
            "By definition memory grows with the square of the text: four times as much for twice"
            " the tokens. By tiles it grows as the text does.",
            series="attention memory by length",
        ),
        StudyChart(
            "curves",
            "All three do the same multiplications, so time grows with the square in each; a fused"
            " kernel saves the way of the scores to memory and back.",
            series="attention time by length",
        ),
    ),
    answers=(
        Answer("dao2022flashattention-1", "cad2b065dc42", training_of_gpt2),
        Answer("dao2022flashattention-2", "bd4771cd3282", training_of_an_encoder),
    ),
    accepts=("model", "text"),
    needs=needs,
    gpu_only=frozenset(
        {ONE_KERNEL, ENCODER, "precision", "share of copying", "share of bfloat16 rate"}
    ),
)
