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

BLOCKS, LLAMA_BLOCKS = 30, 80
SMOLLM2, LLAMA_65B = "SmolLM2-135M", "LLaMA-65B"
CLAIMED_PARAMETERS = 65e9
GPU_BYTES, CLAIMED_GPUS, LEAST_FOR_ADAM = 80e9, 2, 8


class LomoParameters(Parameters):
    """What a reader may set."""

    first_text: Literal["numpy", "pandas", "numpy.lib"] = parameter(
        "numpy",
        "Package whose docstrings the model is trained on before it is fine-tuned",
        role="workload",
    )
    width: int = parameter(
        128,
        "Width of the model that is fine-tuned",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        2, "Blocks of the model that is fine-tuned", unit="blocks", ge=1, le=12, role="workload"
    )
    training_steps: int = parameter(
        300,
        "Steps of training before, of 16 windows each",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )
    tuning_steps: int = parameter(
        30,
        "Steps of fine-tuning on the new text, of 16 windows each, the same for every method",
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
        "Pieces of the new text that a loss is measured on",
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
        "Times that each method tunes the model at that rate, to show its spread",
        unit="runs",
        ge=1,
        le=9,
        role="effort",
    )
    measured_blocks: int = parameter(
        6,
        "Blocks of SmolLM2-135M's shape with which a step's bytes and time are measured; it has 30",
        unit="blocks",
        ge=1,
        le=BLOCKS,
        role="workload",
    )
    measured_tokens: int = parameter(
        32, "Tokens of that step", unit="tokens", ge=1, le=2048, role="workload"
    )
    claimed_blocks: int = parameter(
        LLAMA_BLOCKS,
        "Blocks of LLaMA-65B's shape in which a step is counted, without data; it has 80",
        unit="blocks",
        ge=1,
        le=LLAMA_BLOCKS,
        role="workload",
    )
    rounds: int = parameter(
        3, "Times that each of these steps is timed", unit="rounds", ge=1, le=100, role="effort"
    )


def states(result: Result, method: str, shape: str) -> float:
    """Return the bytes of weights, gradients and optimizer at the peak, for each parameter."""
    return sum(
        result.value("bytes per parameter", method, shape=shape, part=part)
        for part in ("weights", "gradients", "optimizer")
    )


def gpus_for_65b(result: Result) -> Judgement:
    """lv2023collie, claim 0: two A100 are enough to train 65 billion parameters by LOMO."""
    if result.parameters["claimed_blocks"] != LLAMA_BLOCKS:
        return not_run(f"this run counted fewer than the {LLAMA_BLOCKS} blocks of 65 billion")
    lomo, adam = (
        states(result, method, LLAMA_65B) * CLAIMED_PARAMETERS
        for method in ("lomo, 16 bits", "adam, 16 bits")
    )
    small = states(result, "lomo, 16 bits", SMOLLM2)
    gpus = math.ceil(lomo / GPU_BYTES)
    for_adam = math.ceil(adam / GPU_BYTES)
    return judged(
        Number("LOMO, 16 bits, 65 billion parameters", lomo / 1e9, "GB"),
        Number("GPUs of 80 GB for it", gpus, "GPUs", claimed=True),
        Number("Adam, 16-bit weights, 65 billion parameters", adam / 1e9, "GB"),
        Number("GPUs of 80 GB for it, Adam", for_adam, "GPUs"),
        Number("LOMO’s bytes a parameter at SmolLM2’s shape, most of it embedding", small, "bytes"),
        supported=gpus <= CLAIMED_GPUS and for_adam >= LEAST_FOR_ADAM,
        agrees=adam >= 4 * lomo,
    )


def needs(parameters: LomoParameters) -> Needs:
    """Return the package whose docstrings are read, and eight models of the shape with states."""
    share = parameters.measured_blocks / BLOCKS
    return Needs(memory_gib=2 + 8 * share, libraries=(parameters.first_text.split(".")[0],))


SHAPE = "at SmolLM2-135M's shape, batch of one text"

STUDY = Study(
    slug="lomo",
    name="LOMO",
    subject="updating each weight within the backward pass, so that no gradient is kept",
    summary=(
        "Trains a small model on one text and fine-tunes all of it on another: by Adam, by SGD, and"
        " by LOMO, which is SGD that changes each weight as soon as its gradient is there and lets"
        " the gradient go. Checks that LOMO ends with SGD’s weights, counts the gradients that are"
        " there at one time and all bytes of a step, and compares the losses after the same tokens,"
        " each method at the best of the learning rates tried."
    ),
    limits=(
        "The model that is fine-tuned is small and was trained for minutes; LOMO’s publication"
        " argues for SGD with large models that know nearly all already, and nothing here can"
        " show that. One run each, and Adam is not clipped: a hundredth of a nat says nothing."
        " LLaMA-65B is carried out on tensors without data: its bytes are counted, its"
        " activations and its loss are not. One device: what happens when several share the weights"
        " is not measured."
    ),
    publications=("lv2023collie",),
    strategies=("memory-management", "fine-tuning"),
    parameters=LomoParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "first_text": "numpy.lib",
                "width": 32,
                "layers": 1,
                "training_steps": 4,
                "tuning_steps": 2,
                "window": 32,
                "evaluation_windows": 8,
                "learning_rates": 1,
                "measured_blocks": 1,
                "measured_tokens": 2,
                "claimed_blocks": 2,
                "rounds": 1,
            },
        ),
        QUICK: Preset(2),
        # The rule asks for bytes, so that training is kept short.
        CLAIMS: Preset(1, {"training_steps": 50, "tuning_steps": 10, "learning_rates": 1}),
        FULL: Preset(
            30,
            {
                "width": 256,
                "layers": 4,
                "training_steps": 3000,
                "tuning_steps": 300,
                "window": 128,
                "learning_rates": 5,
                "repeats": 3,
                "measured_blocks": BLOCKS,
                "rounds": 9,
            },
        ),
    },
    variants=(
        Variant("unchanged", "the model before it is fine-tuned", "baseline"),
        Variant("adam", "AdamW after the backward pass, in float32", "baseline"),
        Variant(
            "adam, fused",
            "the same within the backward pass: no gradient is kept, and all of its state is",
            "ablation",
        ),
        Variant(
            "adam, 16 bits",
            "weights and gradients in bfloat16; weights, momentum and variance of AdamW in float32",
            "baseline",
        ),
        Variant("sgd", "SGD after the backward pass, in float32", "baseline"),
        Variant("lomo", "SGD within the backward pass"),
        Variant("sgd, clipped", "SGD whose gradient is made no longer than 1", "baseline"),
        Variant("lomo, clipped", "the same by two backward passes, the first for the length"),
        Variant("lomo, 16 bits", "LOMO with all in bfloat16, as when two GPUs are to be enough"),
    ),
    settings=(
        Setting("shape", "the published shape at which bytes are counted"),
        Setting("part", "what the bytes are of"),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of tokens of the new text, in documents that neither"
            " trained a model nor chose a learning rate"
        ),
        Metric(
            "loss from random weights",
            "nats",
            LOWER,
            "quality",
            "computed",
            "the same loss where the new text is all that a model is trained on, for as many steps",
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a weight, after all steps, from the same method with its step"
            " after the backward pass"
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
        Metric(
            "gradients held",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "most bytes of weights’ gradients that are there at one time in a step, each from the"
            " operation that makes it",
        ),
        Metric(
            "gradients at once",
            "gradients",
            LOWER,
            "memory",
            "counted",
            "most gradients of weights that are there at one time in a step",
        ),
        Metric(
            "bytes per parameter",
            "bytes",
            LOWER,
            "memory",
            "counted",
            "bytes at the peak of a step divided by all parameters, without activations",
        ),
        Metric(
            "step memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "most bytes held at one time in a training step, by the allocator: weights, gradients,"
            f" state and activations; {SHAPE}",
        ),
        Metric(
            "memory saving",
            "x",
            HIGHER,
            "memory",
            "counted",
            "step memory of Adam divided by the method’s",
            relative_to="Adam",
        ),
        metrics.STEP_TIME.measured(
            f"wall clock of one training step, alternating, median of rounds; {SHAPE}; on a CPU"
            " products of 16 bits are taken in float32 and rounded"
        ),
        metrics.SPEED_UP.measured(
            "step time of Adam divided by the method’s, alternating, median of rounds",
            relative_to="Adam",
        ),
    ),
    series=(
        Series(
            "gradients held by weight",
            "weights that have got their gradient",
            "%",
            "gradients held",
        ),
        Series("loss by step", "step", "steps", "loss"),
        Series("loss by rate", "learning rate", "x the middle one", "loss"),
    ),
    headline=(Headline("memory saving", "lomo"), Headline("loss", "lomo")),
    charts=(
        StudyChart(
            "trade",
            "Further left is less memory, lower is better at the new text. LOMO stands as high as"
            " SGD, but further left; how it stands beside Adam, whose state it lacks, depends on"
            " its learning rate. Bytes are at SmolLM2’s shape, losses those of the small model.",
            x="step memory",
            y="loss",
        ),
        StudyChart(
            "curves",
            "What is kept of the gradients while the backward pass goes from the last block to the"
            " first. LOMO’s line is flat: what it holds throughout is the embedding’s, which is"
            " also the head, so that its first gradient waits until the end for its second.",
            series="gradients held by weight",
        ),
        StudyChart(
            "curves",
            "How each method ends at the rates that it was tried at, the middle one of which suited"
            " it here; a rate that ended without a loss has no point. Where a line is steep, the"
            " right rate must be looked for, which costs runs. LOMO’s line is SGD’s.",
            series="loss by rate",
        ),
    ),
    answers=(Answer("lv2023collie-0", "42cd4ed3074f", gpus_for_65b),),
    accepts=("text",),
    needs=needs,
)
