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
    Setting,
    Study,
    StudyChart,
    Variant,
    parameter,
)
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import LOWER, Metric
from casestudies.lab.studies.fused_layers.claims import ANSWERS

HEAD_WIDTH = 64
NORM, RESIDUAL, FEED, CRITERION, OPTIMIZER = "norm", "residual", "MLP", "criterion", "optimizer"
WHOLE = "whole step"


class FusedLayersParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        256,
        "Width of the model that is trained, with heads of 64",
        unit="numbers",
        ge=64,
        le=4096,
        multiple_of=HEAD_WIDTH,
        role="workload",
    )
    layers: int = parameter(2, "Layers of that model", unit="layers", ge=1, le=48, role="workload")
    vocabulary: int = parameter(
        2048,
        "Most tokens in its vocabulary, of byte pairs",
        unit="tokens",
        ge=512,
        le=65_536,
        multiple_of=64,
        role="workload",
    )
    window: int = parameter(
        128, "Tokens of a sequence", unit="tokens", ge=8, le=2048, role="workload"
    )
    batch: int = parameter(
        8, "Sequences of a step", unit="sequences", ge=1, le=1024, role="workload"
    )
    steps: int = parameter(
        10, "Steps that each way trains", unit="steps", ge=1, le=10_000, role="effort"
    )
    compile: bool = parameter(
        True,
        "Measure what PyTorch’s compiler makes of norm, residual and criterion, too; it takes"
        " half a minute on a CPU, and a C++ compiler",
        role="method",
    )
    claimed_shapes: bool = parameter(
        False,
        "On a GPU, train the shapes that the claims’ rules ask for, too",
        role="workload",
    )
    rounds: int = parameter(
        5, "Times that each is measured", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: FusedLayersParameters) -> Needs:
    """Return six models with Adam's state, and what op by op keeps of a step, in float32."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 2 * p.vocabulary * p.width
    tokens = p.window * p.batch
    kept = tokens * (60 * p.width * p.layers + 4 * p.vocabulary)
    return Needs(memory_gib=1.5 + 4 * ((6 * 4 + 3) * weights + 2 * kept) / GIB)


STUDY = Study(
    slug="fused-layers",
    name="Fused layers",
    subject="norms, activations, dropout, criterion and optimizer in fewer passes over memory",
    summary=(
        "Trains a small transformer op by op, with PyTorch’s own fused functions, with backward"
        " passes written by hand that keep less and one row of memory for the optimizer; parts of"
        " it compiled, too. Checks that all give the same gradients, counts operators, bytes moved"
        " and bytes kept for the backward pass of each part, and measures its time."
    ),
    limits=(
        "A CPU launches an operator in a microsecond of its own time and has large caches: fusing"
        " saves other shares there than on a GPU, for which LightSeq2 wrote CUDA kernels. Nothing"
        " here is a kernel of theirs; what fuses is PyTorch’s compiler. Attention is PyTorch’s"
        " fused kernel in every way and has a study of its own. What by hand keeps less it"
        " pays for with operators that only a written kernel would fuse."
    ),
    publications=("wang2021lightseq2",),
    strategies=("layer-specific-kernels",),
    parameters=FusedLayersParameters,
    presets={
        SMOKE: Preset(
            0.1,
            {
                "width": 64,
                "layers": 1,
                "vocabulary": 512,
                "window": 32,
                "batch": 2,
                "steps": 2,
                "compile": False,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1),
        CLAIMS: Preset(4, {"steps": 2, "rounds": 9, "claimed_shapes": True}),
        FULL: Preset(
            10,
            {"width": 512, "layers": 6, "batch": 16, "steps": 200, "rounds": 15},
        ),
    },
    variants=(
        Variant("op by op", "an operator for each sign of the formulas", "ablation"),
        Variant(
            "PyTorch",
            "PyTorch’s own layer norm, GELU and cross-entropy, and its fused AdamW over a list of"
            " weights",
            "baseline",
        ),
        Variant(
            "by hand",
            "backward passes that keep less, as in LightSeq2, and AdamW over one row of memory",
        ),
        Variant(
            "compiled",
            "PyTorch’s functions for norm, residual and criterion, each compiled by itself; at the"
            " claims’ shapes whole layers, and AdamW over one row",
        ),
    ),
    settings=(
        Setting(
            "part",
            "which part of a step, forward and backward; without one the whole step with its"
            " optimizer",
        ),
        Setting("model", "the one trained on text, or a shape of the claims on random tokens"),
        Setting("batch", "sequences of a step", "sequences", one="sequence"),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of tokens of text kept apart, after all steps, without"
            " dropout"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a gradient from op by op’s in float32, divided by the largest"
            " number of that weight’s gradient; of the whole step, of the model’s first gradient"
        ),
        Metric(
            "operators launched",
            "operators",
            LOWER,
            "cost",
            "counted",
            "calls of ATen below autograd that write anything, so no views, and compiled kernels",
        ),
        metrics.BYTES_MOVED.measured(
            "bytes of the tensors that each of these operators reads and writes, as if there was no"
            " cache; not of compiled kernels, which do not tell"
        ),
        Metric(
            "kept for backward",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes that autograd keeps between forward and backward pass, each storage once,"
            " weights left out",
        ),
        Metric(
            "kept beyond the formula",
            "byte/token",
            LOWER,
            "memory",
            "counted",
            "bytes that a layer keeps minus those of Korthikanti et al. (2022), 34sbh in 16 bits,"
            " which are 66sbh in float32; statistics of norms and softmax are beyond it",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a part, forward and backward, or of a whole step with its optimizer,"
            " alternating, median of rounds, in each of which a short one is called many times"
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens of a training step divided by its wall clock, alternating, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "time of PyTorch’s own functions divided by the variant’s, alternating, median of"
            " rounds; at the claims’ shapes of a step on random tokens in bfloat16 by autocast,"
            " layers compiled whole and AdamW over one row beside the AdamW that PyTorch takes by"
            " itself",
            relative_to="PyTorch",
        ),
    ),
    headline=(Headline("speed-up", "by hand"), Headline("kept for backward", "by hand")),
    charts=(
        StudyChart(
            "trade",
            "Each part, and the whole step where none is named, at what it reads and writes and the"
            " time that it takes. Were memory all that counts, all points would lie on one line;"
            " those above it wait for arithmetic or for Python.",
            x="bytes moved",
            y="step time",
        ),
        StudyChart(
            "bars",
            "Which fusion pays: above one it is faster than PyTorch’s own function, below one"
            " slower. What holds for a part holds less for the whole step, most of which is matrix"
            " products.",
            y="speed-up",
        ),
        StudyChart(
            "bars",
            "What is kept for the backward pass. By hand a norm keeps what the next product keeps"
            " anyway, the MLP no output of its activation, and the criterion no score.",
            y="kept for backward",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
