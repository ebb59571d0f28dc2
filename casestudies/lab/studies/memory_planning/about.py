"""What the study is, what may be set, and what it measures."""

from typing import Literal

from casestudies.lab import metrics
from casestudies.lab.contract import (
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
from casestudies.lab.metrics import LOWER, Metric

EAGER, FREED, APART = "eager", "freed at last use", "no sharing"
BY_SIZE, LONGEST, BY_TIME = "by size", "by size, longest", "by time"
CHUNKS, CACHING = "chunks", "caching allocator"
FORWARD, TRAINING = "forward pass", "training step"
OVER = "over the bound"


class MemoryPlanningParameters(Parameters):
    """What a reader may set."""

    attention: Literal["definition", "fused"] = parameter(
        "definition",
        "How attention is computed: by its definition, with scores that grow with the square of the"
        " length, or by PyTorch’s kernel, which holds none",
        role="workload",
    )
    longest: int = parameter(
        512,
        "Tokens at which a request is cut",
        unit="tokens",
        ge=32,
        le=4096,
        multiple_of=32,
        role="workload",
    )
    requests: int = parameter(
        40,
        "Requests of the stream, documents drawn from the text, for which memory is planned",
        unit="requests",
        ge=2,
        le=10_000,
        role="workload",
    )
    executed: int = parameter(
        128,
        "Longest text that is really read by the model in the planned memory, from 32 tokens on",
        unit="tokens",
        ge=32,
        le=2048,
        multiple_of=32,
        role="workload",
    )
    width: int = parameter(
        128,
        "Width of the small model of which a training step is planned and carried out",
        unit="numbers",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(2, "Layers of that model", unit="layers", ge=1, le=24, role="workload")
    rounds: int = parameter(
        5, "Times that each way is timed", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: MemoryPlanningParameters) -> Needs:
    """Return the model, and the activations of what is carried out several times over."""
    p = parameters
    scores = 64 * p.executed**2 * 4  # of as many heads as models of this size have at most
    reading = 8 * (scores + p.executed * 2**17)
    gradients = 12 * p.layers * p.width**2 * 4
    training = 8 * gradients + 4 * p.layers * p.width * 2**16
    return Needs(memory_gib=2.5 + max(reading, training) / 2**30)


STUDY = Study(
    slug="memory-planning",
    name="Memory planning",
    subject="activations in one buffer, placed by when each is needed",
    summary=(
        "Records a model’s forward pass and a training step call by call, and with it when each"
        " tensor is first and last needed. Planners place the tensors in shared memory; then the"
        " same calls are carried out there, each writing into bytes that are already held, and"
        " must give the same numbers bit for bit. Counts how far each plan is from the most bytes"
        " alive, and what a stream of requests of changing length makes each way hold."
    ),
    limits=(
        "One model at a time, one stream, activations only: weights, a cache of keys and values and"
        " the optimizer’s state are no part of the plan, and no result is written over its input."
        " PyTorch’s caching allocator for CUDA is replayed by its rules, on a GPU too. Planners are"
        " plain Python, whose time says how they compare and not what one in C++ takes. On a GPU an"
        " allocation that reaches the device waits for it, which costs far more than here. Memory"
        " that matrix products take for themselves is not seen."
    ),
    publications=("fang2020turbotransformers", "wang2021lightseq2"),
    strategies=("memory-management",),
    parameters=MemoryPlanningParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "longest": 64,
                "requests": 3,
                "executed": 32,
                "width": 32,
                "layers": 1,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1),
        FULL: Preset(
            15,
            {
                "longest": 2048,
                "requests": 400,
                "executed": 1024,
                "width": 256,
                "layers": 6,
                "rounds": 15,
            },
        ),
    },
    variants=(
        Variant(EAGER, "PyTorch as it is: every operation asks for memory", "baseline"),
        Variant(FREED, "the recorded calls, memory asked for by each and freed at once", "control"),
        Variant(APART, "memory of its own for each tensor, held throughout", "control"),
        Variant(
            CACHING, "PyTorch’s allocator for CUDA, which keeps what is freed; replay", "baseline"
        ),
        Variant(BY_TIME, "one buffer, tensors placed as they come", "ablation"),
        Variant(BY_SIZE, "one buffer, the largest tensor placed first, planned for each request"),
        Variant(LONGEST, "that plan for the longest request, which serves all (LightSeq2)"),
        Variant(CHUNKS, "by size into chunks that requests leave to the next (TurboTransformers)"),
    ),
    settings=(
        Setting("work", "what is computed"),
        Setting("length", "tokens of a request, or of a step’s sequences", "tokens", one="token"),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit, or of the loss or a gradient, from PyTorch’s own run"
        ),
        Metric(
            "overlaps",
            "pairs",
            LOWER,
            "memory",
            "counted",
            "pairs of tensors that share bytes while both are needed, in all plans of the run",
        ),
        Metric(
            "memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes in which all activations of one computation lie; freed at last use, the most"
            " that are alive at one time, which no plan goes below; eager, by the allocator",
        ),
        Metric(
            OVER,
            "x",
            LOWER,
            "memory",
            "counted",
            "bytes held divided by the most bytes alive at one time; of the stream, means of both",
            relative_to="most alive",
        ),
        Metric(
            "held",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes held for a request of the stream, mean of all",
        ),
        Metric(
            "allocations",
            "per request",
            LOWER,
            "latency",
            "counted",
            "pieces of memory that are asked of the device for a request, mean of the stream",
        ),
        Metric(
            "allocated meanwhile",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "most bytes that operations ask for while all is carried out in memory that is there",
        ),
        Metric(
            "planning time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of planning for one request, in Python, median of the stream",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of one forward pass or training step, alternating, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "step time of eager divided by the variant’s, alternating, median of rounds",
            relative_to="eager",
        ),
    ),
    series=(
        Series("over the bound by length", "length", "tokens", OVER),
        Series("held by request", "request", "in turn", "held"),
        Series("speed-up by length", "length", "tokens", "speed-up"),
    ),
    headline=(Headline(OVER, BY_SIZE), Headline(OVER, CHUNKS), Headline(OVER, CACHING)),
    charts=(
        StudyChart(
            "curves",
            "1 is the most that is alive at one time: no plan can be smaller. By size lies there"
            " but where attention’s scores are as large as other tensors, for there the largest"
            " first is not the best order. Placing tensors as they come costs more; chunks waste"
            " most where requests are short, since one is 2 MiB at least.",
            series="over the bound by length",
        ),
        StudyChart(
            "curves",
            "Freed at last use is what is needed. The caching allocator, computed by replay, only"
            " climbs; chunks follow the requests up and down; one plan for the longest stays.",
            series="held by request",
        ),
        StudyChart(
            "curves",
            "How many times as fast the same numbers are there. Freed at last use tells what is of"
            " recorded calls, without modules and views; what the others add to it is the memory.",
            series="speed-up by length",
        ),
    ),
    accepts=("model", "text"),
    needs=needs,
)
