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
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.studies.quantization.claims import (
    ANSWERS,
    FLEXGEN,
    FUSED,
    GATHERED,
    LOOKED_UP,
    OPT_TOKENS,
    PRETRAINED,
    QUANTIZATION_TIME,
    REORDERING,
    TEXT,
    TRAINED,
    WHOLE_ROWS,
)


class QuantizationParameters(Parameters):
    """What a reader may set."""

    bits: Literal["8", "4", "3"] = parameter(
        "4", "Bits of a weight of the trained model in the result", unit="bits", role="method"
    )
    group: int = parameter(
        128,
        "Neighbouring weights of a row that share a step and a zero; 0 for whole rows",
        unit="weights",
        ge=0,
        le=1024,
        multiple_of=16,
        role="method",
    )
    damping: float = parameter(
        0.01,
        "Added to GPTQ's Hessian, as a share of its mean diagonal",
        ge=0.001,
        le=1.0,
        role="method",
    )
    threshold: float = parameter(
        6.0,
        "LLM.int8() leaves columns of activations that reach this unrounded",
        ge=0.5,
        le=1000.0,
        role="method",
    )
    smoothing: float = parameter(
        0.8,
        "How much of the activations' range SmoothQuant moves into the weights; 0.5 for OPT in its"
        " publication, 0.8 and more for models like Llama",
        ge=0.0,
        le=1.0,
        role="method",
    )
    width: int = parameter(
        256,
        "Width of the trained model",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        2, "Blocks of the trained model", unit="blocks", ge=1, le=12, role="workload"
    )
    steps: int = parameter(
        300, "Training steps, of 16 windows each", unit="steps", ge=1, le=100_000, role="workload"
    )
    trained_window: int = parameter(
        64,
        "Length of a piece of text for the trained model",
        unit="tokens",
        ge=16,
        le=1024,
        role="workload",
    )
    trained_calibration_windows: int = parameter(
        128,
        "Pieces of text that GPTQ is fitted to, for the trained model",
        unit="windows",
        ge=1,
        le=4096,
        role="method",
    )
    trained_evaluation_windows: int = parameter(
        256,
        "Pieces of other text for the trained model's perplexity",
        unit="windows",
        ge=1,
        le=4096,
        role="workload",
    )
    window: int = parameter(
        256,
        "Length of a piece of text for the pretrained model",
        unit="tokens",
        ge=16,
        le=2048,
        role="workload",
    )
    calibration_windows: int = parameter(
        4,
        "Pieces of text that GPTQ and SmoothQuant are fitted to, for the pretrained model",
        unit="windows",
        ge=1,
        le=128,
        role="method",
    )
    evaluation_windows: int = parameter(
        4,
        "Pieces of other text for the pretrained model's perplexity",
        unit="windows",
        ge=1,
        le=128,
        role="workload",
    )
    blocks: int = parameter(
        0,
        "Round only the pretrained model's first blocks; 0 rounds all",
        unit="blocks",
        ge=0,
        le=1000,
        role="workload",
    )
    pretrained_bits: Literal["8", "4", "3"] = parameter(
        "8",
        "Fewest bits that the pretrained model's weights are rounded to; the bundled model's had 4"
        " before, so fewer than 8 say little of it",
        unit="bits",
        role="workload",
    )
    rounds: int = parameter(
        5, "Times that each product is measured", unit="rounds", ge=2, le=100, role="effort"
    )


# Apart, since the pretrained model loses so much more that nothing else could be seen beside it.
CURVES = {
    TRAINED: "perplexity ratio by bits",
    PRETRAINED: "perplexity ratio by bits, pretrained",
}


def groups_of(group: int) -> str:
    """Return how many weights share a grid in the words of the setting."""
    return f"groups of {group}" if group else WHOLE_ROWS


STUDY = Study(
    slug="quantization",
    name="Quantization",
    subject="weights and activations in few bits",
    summary=(
        "Rounds the weights of a real language model to 8 bits and those of one trained in the run"
        " to 8, 4 and 3, to the nearest value, by GPTQ, AWQ and in NF4, and writes them as bytes."
        " Rounds activations to 8 bits in six ways, among them LLM.int8() and SmoothQuant, of which"
        " those with one scale for all tokens ruin the model, and multiplies with packed weights in"
        " PyTorch's own kernels."
    ),
    limits=(
        "SmolLM2's weights were rounded to 4 bits once before, so 4 bits and fewer tell little of"
        " it: the trained model is the fair one, but small and trained for a minute. Perplexities"
        " of all that is rounded are computed in float32, and integer products timed by themselves."
        " Kernels for 3 bits, those of 4 and blocks in int8 at published shapes, tokens a second of"
        " a whole model and the hours that GPTQ takes need a GPU. Not seen are kernels of NF4, or"
        " anything of 175 billion parameters but its bytes, a layer’s product and a block."
    ),
    publications=(
        "frantar2022gptq",
        "dettmers2022llmint8",
        "xiao2022smoothquant",
        "sheng2023flexgen",
        "yao2022zeroquant",
        "kwon2022alphatuning",
        "lin2023awq",
        "dettmers2023qlora",
    ),
    strategies=("quantization",),
    parameters=QuantizationParameters,
    presets={
        SMOKE: Preset(
            0.25,
            {
                "width": 64,
                "layers": 1,
                "steps": 8,
                "trained_window": 32,
                "trained_calibration_windows": 4,
                "trained_evaluation_windows": 4,
                "window": 32,
                "calibration_windows": 1,
                "evaluation_windows": 1,
                "blocks": 1,
                "pretrained_bits": "4",
                "rounds": 2,
            },
        ),
        QUICK: Preset(
            2,
            {
                "trained_window": 48,
                "trained_calibration_windows": 64,
                "trained_evaluation_windows": 128,
                "evaluation_windows": 2,
                "rounds": 3,
            },
        ),
        CLAIMS: Preset(4, {"calibration_windows": 8, "evaluation_windows": 16, "rounds": 2}),
        FULL: Preset(
            30,
            {
                "width": 384,
                "layers": 4,
                "steps": 1500,
                "trained_calibration_windows": 256,
                "trained_evaluation_windows": 200,
                "window": 512,
                "calibration_windows": 16,
                "evaluation_windows": 16,
                "pretrained_bits": "3",
                "rounds": 15,
            },
        ),
    },
    variants=(
        Variant("float32", "the model as it is", "baseline"),
        Variant(
            "bfloat16", "all weights in 16 bits; where time is taken, activations, too", "baseline"
        ),
        Variant(
            "float16",
            "weights and activations in 16 bits, multiplied by PyTorch; on a GPU only",
            "baseline",
        ),
        Variant("rounded", "each weight to the nearest value of its group's grid", "baseline"),
        Variant("gptq", "weights rounded column by column, later columns making up for the error"),
        Variant("awq", "columns that large activations meet scaled up before they are rounded"),
        Variant("nf4", "16 values as a normal distribution has them, one constant for 64 weights"),
        Variant("8-bit weights", "weights in 8 bits, activations as they are", "control"),
        Variant(
            "quantize_dynamic",
            "as PyTorch's function of that name: one scale for a layer's weights, and one of 7 bits"
            " for its activations",
            "baseline",
        ),
        Variant(
            "W8A8 per tensor",
            "weights and activations in 8 bits, one scale for all activations of a layer",
            "baseline",
        ),
        Variant("W8A8 per token", "weights and activations in 8 bits, one scale a token"),
        Variant("LLM.int8()", "one scale a token; columns with outliers stay as they are"),
        Variant(
            "SmoothQuant",
            "one scale for all activations, after their range was moved into the weights",
        ),
        Variant("SmoothQuant per token", "the same with one scale a token"),
        Variant(FLEXGEN, "weights, keys and values in 4 bits, in groups of 64"),
        Variant("unpacked first", "weights in one byte, unpacked for a dense product", "control"),
        Variant("int8 kernel", "weights in one byte, multiplied as they are stored"),
        Variant("int4 kernel", "weights in half a byte, multiplied as they are stored"),
        Variant("int3 kernel", "weights in three eighths of a byte, likewise"),
        Variant(
            LOOKED_UP,
            "weights in 4 bits whose columns were rounded in another order than they lie in: the"
            " kernel looks up each one’s group, as GPTQ’s does; on a GPU only",
            "baseline",
        ),
        Variant(
            GATHERED,
            "the same weights in the order that they were rounded in: a product first brings its"
            " input into that order; on a GPU only",
            "baseline",
        ),
        Variant(
            FUSED,
            "blocks in float16 as well run as those in int8: one kernel for attention and one for a"
            " sum and its norm, launched from a graph",
            "baseline",
        ),
        Variant("8 and 4 bits", "attention in 8 bits, fully connected layers in 4"),
        Variant("binary codes", "four signs a weight, each with a float32 scale a row"),
    ),
    settings=(
        Setting(
            "model",
            "pretrained: SmolLM2, or the reader's; trained: in the run; or a published shape",
        ),
        Setting("bits", "bits of a weight", "bits", one="bit"),
        Setting("group", "weights that share a step and a zero"),
        Setting("part", "what is counted of the model"),
        Setting("tokens", "tokens multiplied at once", "tokens", one="token"),
    ),
    metrics=(
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the tokens of documents kept from"
            " calibration and training; without a model named, of the trained model for rounded"
            " weights and of the pretrained one for rounded activations"
        ),
        metrics.PERPLEXITY_RATIO.measured(
            "perplexity divided by the unrounded model's in float32 on the same text",
            relative_to="float32",
        ),
        Metric(
            "perplexity over 16 bits",
            "x",
            LOWER,
            "quality",
            "computed",
            "perplexity divided by that with weights in bfloat16 on the same text; the"
            " pretrained one with 8 bits, the trained one with 4",
            relative_to="bfloat16",
        ),
        metrics.BITS_PER_WEIGHT.measured(
            "all bytes of the linear layers as packed, with a float16 step and a zero for each"
            " group, divided by the weights; quality is that of the weights read back from them"
        ),
        metrics.RECONSTRUCTION_ERROR.measured(
            "mean over the trained model's layers of the squared change of a layer's output on its"
            " first calibration inputs, divided by the squared output"
        ),
        metrics.COMPRESSION_TIME.measured(
            "wall clock of calibration, rounding, packing and unpacking the trained model's weights"
        ),
        Metric(
            "products in 8 bits",
            "%",
            HIGHER,
            None,
            "computed",
            "share of the linear layers' multiply-adds of which both factors are in 8 bits",
        ),
        Metric(
            "stored size",
            "MB",
            LOWER,
            "model-size",
            "counted",
            "bytes of codes, scales and what stays unrounded, at published shapes, or of the"
            " pretrained model's linear layers and one window of their inputs",
        ),
        metrics.PRODUCT_SPEED.measured(
            "time in float32 divided by the variant's, for the products of all rounded linear"
            " layers of the pretrained model one after another; alternating, median of rounds",
            relative_to="float32",
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference between the products of the lab’s kernel in float16 and those of"
            " the unpacked weights in float64, as a share of the largest; of the whole model, that"
            " of any layer on what it reads; of blocks, between a step and the same in float64 on"
            " what it was given, beyond half a code; needs a GPU"
        ),
        Metric(
            "kernel speed",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of PyTorch’s product in float16 divided by that of the lab’s kernel for packed"
            " weights in groups of 128, mean over the linear layers of a block; random weights,"
            " more of them than any cache holds, median of rounds; needs a GPU and Triton",
            relative_to="float16",
        ),
        metrics.SHARE_OF_COPYING.measured(
            "time in which the GPU copies as many bytes as packed weights, inputs and outputs take,"
            " of the median time of the lab’s product, mean over the linear layers of a block;"
            " needs a GPU and Triton"
        ),
        Metric(
            REORDERING,
            "x",
            LOWER,
            "throughput",
            "timed",
            "time of one token’s product with 4-bit weights in groups of 128 that were rounded in"
            " another order, divided by that of columns in order, mean over the linear layers of a"
            " block; random weights and order, more of them than any cache holds, median of"
            " rounds; needs a GPU and Triton",
            relative_to="int4 kernel",
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "16 tokens of one text after 128, each read as soon as it is chosen, by a model with"
            " random weights whose whole loop a CUDA graph repeats; median of rounds; needs a GPU"
            " with 20 GiB and Triton"
        ),
        metrics.SPEED_UP.measured(
            "time of that loop with weights in float16 divided by the variant’s, alternating,"
            " median of rounds",
            relative_to="float16",
        ),
        Metric(
            QUANTIZATION_TIME,
            "h",
            LOWER,
            "cost",
            "timed",
            "96 times the time of calibrating and rounding one block of OPT-175B’s shape, in the"
            " bits and groups of the result; random weights in bfloat16, Hessians in float32, on"
            " 128 windows of 2,048 tokens; needs a GPU with 60 GiB",
        ),
        Metric(
            "speed over eager",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of the transformer blocks of a published shape in float16 by one operator of"
            " PyTorch after another, attention written out, divided by the variant’s, whose kernels"
            " a graph launches; in int8 all linear layers, their inputs rounded in the operator"
            " before, but not attention’s two products; random weights, no embedding and no head,"
            f" texts of {TEXT} tokens, or a block over {OPT_TOKENS}; median of rounds; needs a GPU"
            " and Triton",
            relative_to="float16 eager",
        ),
        Metric(
            "speed over fused",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of the same blocks in float16 with attention, sums and norms fused, divided by"
            " the variant’s, whose attention, sums, norms and graph are the same; median of rounds;"
            " needs a GPU and Triton",
            relative_to=FUSED,
        ),
    ),
    series=tuple(
        Series(name, "bits per weight", "bits", "perplexity ratio") for name in CURVES.values()
    ),
    headline=(
        Headline("perplexity ratio", "gptq"),
        Headline("perplexity over 16 bits", "W8A8 per token"),
    ),
    charts=(
        StudyChart(
            "curves",
            "8 bits lose next to nothing, of either model. At 4 and 3 GPTQ loses less than"
            " rounding, most so where a whole row shares one grid; AWQ needs inputs far larger"
            " than others to gain. NF4's 16 values stand at 4.13 bits.",
            series=CURVES[TRAINED],
        ),
        StudyChart(
            "bars",
            "With 8 bits for activations, too, one scale for all tokens ruins the model, as in"
            " PyTorch's quantize_dynamic: a few outliers take all of it. A scale a token, or"
            " outliers apart, or smoothed, do not.",
            y="perplexity over 16 bits",
        ),
        StudyChart(
            "bars",
            "One token reads every weight once, so fewer bytes are faster, unless they are unpacked"
            " first. 256 tokens compute more than they read: there packed weights gain nothing over"
            " bfloat16, and integer products of rounded activations do only where the processor has"
            " such products; with AVX2 alone they lose, and bfloat16, too.",
            y="product speed",
        ),
    ),
    answers=ANSWERS,
    accepts=("model", "text"),
    # The bundled model in float32, its weights again, in bfloat16 and packed, and its activations.
    needs=lambda parameters: Needs(memory_gib=3),
    gpu_only=frozenset(
        {
            "equality error",
            "kernel speed",
            "share of copying",
            "int3 kernel",
            QUANTIZATION_TIME,
            REORDERING,
            LOOKED_UP,
            GATHERED,
            "tokens per second",
            "speed-up",
            "float16",
            "speed over eager",
            "speed over fused",
            FUSED,
        }
    ),
)
