"""What the study is, what may be set, and what it measures."""

import math
from typing import Literal

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
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric
from casestudies.lab.result import Result

BLOCKS = 30  # of SmolLM2-135M
TOKENS = 128  # of the step whose bytes the rule asks for
GPU_BYTES = 80e9
# LLaMA-65B (Touvron et al., 2023, table 2): 80 blocks, width 8,192, feed-forward 22,016, 32,000
# tokens, and a head of its own.
CLAIMED_PARAMETERS = 65e9
EMBEDDING_BYTES = 2 * 2 * 32_000 * 8_192
ADAPTER_RANK = 64
ADAPTER_PARAMETERS = 80 * ADAPTER_RANK * (4 * (8_192 + 8_192) + 3 * (8_192 + 22_016))


class LoraParameters(Parameters):
    """What a reader may set."""

    old_text: Literal["numpy", "pandas", "numpy.lib"] = parameter(
        "numpy",
        "Package whose docstrings the model is trained on before it is adapted",
        role="workload",
    )
    width: int = parameter(
        128,
        "Width of the model that is adapted",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        2, "Blocks of the model that is adapted", unit="blocks", ge=1, le=12, role="workload"
    )
    training_steps: int = parameter(
        400,
        "Steps of training before, of 16 windows each",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )
    adapting_steps: int = parameter(
        40,
        "Steps of adapting to the other text, of 16 windows each, the same for every method",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )
    window: int = parameter(
        64, "Length of a piece of text", unit="tokens", ge=16, le=1024, role="workload"
    )
    evaluation_windows: int = parameter(
        64,
        "Pieces of each text that a loss is measured on",
        unit="windows",
        ge=2,
        le=4096,
        role="workload",
    )
    learning_rates: int = parameter(
        3,
        "Learning rates that each method is tried at, each three times the one before; the best on"
        " text of its own is kept",
        unit="rates",
        ge=1,
        le=9,
        role="effort",
    )
    repeats: int = parameter(
        1,
        "Times that each method adapts the model at that rate, to show its spread",
        unit="runs",
        ge=1,
        le=9,
        role="effort",
    )
    measured_blocks: int = parameter(
        BLOCKS,
        "Blocks of SmolLM2-135M's shape with which a step's bytes and time are measured; it has 30",
        unit="blocks",
        ge=1,
        le=BLOCKS,
        role="workload",
    )
    measured_tokens: int = parameter(
        TOKENS, "Tokens of that step", unit="tokens", ge=1, le=2048, role="workload"
    )
    rounds: int = parameter(
        3, "Times that each of these steps is timed", unit="rounds", ge=2, le=100, role="effort"
    )


def _as_the_rule_asks(result: Result) -> bool:
    return (result.parameters["measured_blocks"], result.parameters["measured_tokens"]) == (
        BLOCKS,
        TOKENS,
    )


OTHER_STEP = not_run("this run measured another step; the rule asks for 30 blocks, 128 tokens")


def reduction_for_gpt3(result: Result) -> Judgement:
    """hu2021lora, claim 0: 10,000 times fewer trainable parameters for GPT-3 175B."""
    gpt3, smollm2 = (
        result.value("parameter reduction", "lora 4", shape=shape)
        for shape in ("GPT-3 175B", "SmolLM2-135M")
    )
    return judged(
        Number("all parameters by trainable ones, GPT-3 175B, rank 4", gpt3, "x", claimed=True),
        Number("the same, SmolLM2-135M", smollm2, "x"),
        supported=abs(gpt3 / 10_000 - 1) <= 0.15,
        agrees=10_000 / 3 <= gpt3 <= 30_000,
    )


def memory_of_a_step(result: Result) -> Judgement:
    """hu2021lora, claim 1: three times less memory for training."""
    if not _as_the_rule_asks(result):
        return OTHER_STEP
    full, lora = (result.value("step memory", method) for method in ("full", "lora 4"))
    ratio = full / lora
    return judged(
        Number("most bytes of a step, full", full, "MiB"),
        Number("most bytes of a step, LoRA of rank 4", lora, "MiB"),
        Number("full divided by LoRA", ratio, "x", claimed=True),
        supported=ratio >= 3.0,
        agrees=ratio >= 1.5,
    )


def scales_of_alphatuning(result: Result) -> Judgement:
    """kwon2022alphatuning, claim 1: more than 1,000 times fewer trainable parameters."""
    ratios = {
        shape: result.value("parameter reduction", "alphatuning", shape=shape)
        for shape in ("GPT-2 medium", "GPT-2 large", "OPT-1.3B")
    }
    return judged(
        *(
            Number(f"all parameters by first scales, {s}", r, "x", claimed=True)
            for s, r in ratios.items()
        ),
        supported=sum(ratio > 1000 for ratio in ratios.values()) >= 2,
        agrees=min(ratios.values()) > 300,
    )


def bytes_at_16_bits(result: Result, method: str) -> float:
    """Return bytes for each parameter: weights and gradients at half of float32, Adam's as is."""
    weights, gradients, optimizer = (
        result.value("bytes per parameter", method, part=part)
        for part in ("weights", "gradients", "optimizer")
    )
    return (weights + gradients) / 2 + optimizer


def gpus_for_65b(result: Result) -> Judgement:
    """lv2023collie, claim 1: two A100 are enough for a model of 65 billion parameters."""
    if not _as_the_rule_asks(result):
        return OTHER_STEP
    full, lora = (
        bytes_at_16_bits(result, method) * CLAIMED_PARAMETERS for method in ("full", "lora 4")
    )
    gpus = {name: math.ceil(size / GPU_BYTES) for name, size in (("full", full), ("lora", lora))}
    return judged(
        Number("LoRA of rank 4, 65 billion parameters", lora / 1e9, "GB"),
        Number("GPUs of 80 GB for it", gpus["lora"], "GPUs", claimed=True),
        Number("full Adam, 65 billion parameters", full / 1e9, "GB"),
        Number("GPUs of 80 GB for it, full Adam", gpus["full"], "GPUs"),
        supported=gpus["lora"] <= 2 and gpus["full"] >= 8,
        agrees=full >= 4 * lora,
    )


def qlora_of_65b(result: Result) -> Judgement:
    """dettmers2023qlora, claim 0: a model of 65 billion parameters on one GPU of 48 GB.

    Adapters are counted as this run trains them, in float32.
    """
    bits = result.value("bits per weight", "qlora 4")
    of_adapter = result.value("bytes per trained parameter", "qlora 4")
    base = bits / 8 * CLAIMED_PARAMETERS
    adapters = of_adapter * ADAPTER_PARAMETERS
    whole = (base + EMBEDDING_BYTES + adapters) / 1e9
    full = bytes_at_16_bits(result, "full") * CLAIMED_PARAMETERS / 1e9
    return judged(
        Number("bits per base parameter", bits, "bits"),
        Number("bytes per adapter parameter, in float32", of_adapter, "bytes"),
        Number("base, embeddings and adapters of rank 64 at 65 billion", whole, "GB"),
        Number("full fine-tuning with 16-bit weights", full, "GB"),
        supported=whole <= 46 and full > 480,
        agrees=46 < whole <= 48,
    )


def needs(parameters: LoraParameters) -> Needs:
    """Return the package whose docstrings are read, and six models of the shape being trained."""
    share = parameters.measured_blocks / BLOCKS
    return Needs(memory_gib=1.5 + 5 * share, libraries=(parameters.old_text.split(".")[0],))


SHAPE = "of SmolLM2-135M's shape, batch of one text, float32"

STUDY = Study(
    slug="lora",
    name="LoRA",
    subject="adapting a model by training little of it",
    summary=(
        "Trains a small model on one kind of text and adapts it to another, once with all of its"
        " weights and then with low-rank adapters, scaling factors or its last block alone, each at"
        " the best of the learning rates tried; measures what that gains on the new text and loses"
        " on the old one. Counts the bytes of a training step at a real model's shape."
    ),
    limits=(
        "The model that is adapted is small and trained for minutes, and the texts differ much:"
        " an adapter has more to learn here than on a model that knows nearly all already. Bytes"
        " and time are of random weights in float32; 16-bit sums are arithmetic. NF4 and"
        " AlphaTuning's codes are stored in few bits and computed with as floats, without the"
        " kernels that would make them fast. A quarter of the lines of the default new text’s"
        " evaluation part stand in its training part too."
    ),
    publications=("hu2021lora", "dettmers2023qlora", "kwon2022alphatuning", "lv2023collie"),
    strategies=("fine-tuning", "quantization"),
    parameters=LoraParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "old_text": "numpy.lib",
                "width": 32,
                "layers": 1,
                "training_steps": 4,
                "adapting_steps": 2,
                "window": 32,
                "evaluation_windows": 8,
                "learning_rates": 1,
                "measured_blocks": 1,
                "measured_tokens": 16,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5, {"measured_blocks": 4, "training_steps": 300, "learning_rates": 2}),
        # The rules ask for counts and bytes, so that training is kept short.
        CLAIMS: Preset(1, {"training_steps": 50, "adapting_steps": 10, "learning_rates": 1}),
        FULL: Preset(
            40,
            {
                "width": 256,
                "layers": 4,
                "training_steps": 3000,
                "adapting_steps": 300,
                "window": 128,
                "repeats": 3,
                "rounds": 9,
            },
        ),
    },
    variants=(
        Variant("unchanged", "the model as trained on the old text", "baseline"),
        Variant("full", "all weights are trained, by Adam", "baseline"),
        Variant("last block", "only the last block's weights and the last norm are", "control"),
        Variant("scales only", "one factor for each row of each matrix"),
        Variant("alphatuning", "matrices in three binary codes, of which the first's scale is"),
        Variant("lora 1", "adapters of rank 1 on the query and value matrices"),
        Variant("lora 4", "adapters of rank 4 on the query and value matrices"),
        Variant("lora 16", "adapters of rank 16 on the query and value matrices"),
        Variant("lora 4 everywhere", "adapters of rank 4 on every matrix of a block", "ablation"),
        Variant("qlora 4", "the same, and the matrices themselves in 4-bit NormalFloat"),
    ),
    settings=(
        Setting("shape", "the published shape on which parameters are counted"),
        Setting("part", "what the bytes are of"),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of tokens of the new kind of text, in documents that"
            " trained no model, windows that chose no learning rate"
        ),
        Metric(
            "forgetting",
            "nats",
            LOWER,
            "quality",
            "computed",
            "rise of the mean negative log-likelihood over the unchanged model's, on the old kind"
            " of text, in documents kept from training",
        ),
        metrics.PARAMETERS.measured("numbers of the adapted model that take gradients"),
        Metric(
            "parameter reduction",
            "x",
            HIGHER,
            "memory",
            "counted",
            "all parameters of a published shape divided by those that are trained, without"
            " weights; rank 4 on query and value, and first scales of every row",
            relative_to="trainable",
        ),
        Metric(
            "step memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "most bytes held at one time in a training step: weights, gradients, Adam's state and"
            f" activations; {SHAPE}",
        ),
        Metric(
            "memory saving",
            "x",
            HIGHER,
            "memory",
            "counted",
            "step memory of full fine-tuning divided by the method's",
            relative_to="full",
        ),
        Metric(
            "bytes per parameter",
            "bytes",
            LOWER,
            "memory",
            "counted",
            f"bytes of the tensors divided by all parameters; {SHAPE}",
        ),
        Metric(
            "bytes per trained parameter",
            "bytes",
            LOWER,
            "memory",
            "counted",
            "bytes of what is trained, its gradients and Adam's state, divided by its parameters",
        ),
        metrics.BITS_PER_WEIGHT.measured(
            "all bytes of the matrices as stored, in NF4 with double quantization or in binary"
            f" codes with a scale for each row, divided by their weights; {SHAPE}"
        ),
        Metric(
            "bits of constants",
            "bits",
            LOWER,
            "model-size",
            "counted",
            "those of the bits per weight that scale the codes: 8 / 64 + 32 / (64 x 256) in NF4, 32"
            " for each binary code of a row",
        ),
        Metric(
            "change at the start",
            "fraction",
            LOWER,
            "quality",
            "computed",
            "largest difference of a logit between the unchanged model and the one made ready to be"
            " trained, divided by the largest logit: 0 but for what rounding weights changes",
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit between the adapted model and the one with its adapters"
            " or scales merged into the weights, divided by the largest logit"
        ),
        Metric(
            "best learning rate",
            "",
            NEITHER,
            None,
            "computed",
            "highest rate of the schedule, of those tried the one with the least loss on text kept"
            " for that",
        ),
        metrics.STEP_TIME.measured(
            f"wall clock of one training step, alternating, median of rounds; {SHAPE}"
        ),
        metrics.SPEED_UP.measured(
            "step time of full fine-tuning divided by the method's, alternating, median of rounds",
            relative_to="full",
        ),
    ),
    series=(
        Series("loss by forgetting", "forgetting", "nats", "loss"),
        Series("loss by step", "step", "steps", "loss"),
    ),
    headline=(Headline("loss", "lora 4"), Headline("memory saving", "lora 4")),
    charts=(
        StudyChart(
            "trade",
            "Further left is less to train, store and send; lower is better at the new text. What"
            " is adapted counts as much as how many parameters: compare the points with about as"
            " many.",
            x="trainable parameters",
            y="loss",
        ),
        StudyChart(
            "curves",
            "A line joins one method's learning rates: downwards it learns more of the new text,"
            " to the right it forgets more of the old one. Compare methods where they forget the"
            " same, not at their ends: a smaller rate alone forgets less.",
            series="loss by forgetting",
        ),
        StudyChart(
            "bars",
            "Gradients and Adam's state are three of the four parts of full fine-tuning, and what"
            " is frozen has neither. Weights and activations remain; QLoRA and AlphaTuning make the"
            " weights smaller too.",
            y="step memory",
        ),
    ),
    answers=(
        Answer("hu2021lora-0", "2404b08c0de7", reduction_for_gpt3),
        Answer("hu2021lora-1", "7da293f231bf", memory_of_a_step),
        Answer("kwon2022alphatuning-1", "df244de97734", scales_of_alphatuning),
        Answer("lv2023collie-1", "988e3680d48e", gpus_for_65b),
        Answer("dettmers2023qlora-0", "d89a36de94ec", qlora_of_65b),
    ),
    accepts=("text",),
    needs=needs,
)
