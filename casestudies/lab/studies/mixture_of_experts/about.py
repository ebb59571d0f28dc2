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
from casestudies.lab.metrics import LOWER, Metric
from casestudies.lab.studies.mixture_of_experts.claims import (
    ANSWERS,
    DENSE,
    FOUR_TIMES,
    PYRAMID,
    SHALLOWER,
    SWITCH,
    TWICE,
)

UNBALANCED, ONE_EXPERT = "without balance loss", "one expert"
DOCUMENTED = ("numpy", "pandas")


class MixtureParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        128,
        "Width of the models",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(2, "Blocks of the models", unit="blocks", ge=1, le=12, role="workload")
    experts: int = parameter(
        8,
        "Experts in each block of a mixture",
        unit="experts",
        ge=4,
        le=64,
        multiple_of=4,
        role="method",
    )
    capacity_factor: float = parameter(
        1.25,
        "In training an expert takes so many times its even share of the tokens; those beyond pass"
        " it by",
        unit="x",
        ge=0.25,
        le=8.0,
        role="method",
    )
    steps: int = parameter(
        150,
        "Training steps of each model, of 16 windows each",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )
    docstrings: bool = parameter(
        True, "Also train and evaluate on the docstrings of NumPy and pandas", role="workload"
    )
    window: int = parameter(
        64, "Length of a piece of text", unit="tokens", ge=16, le=1024, role="workload"
    )
    evaluation_windows: int = parameter(
        256,
        "Pieces of other text that loss is measured on",
        unit="windows",
        ge=2,
        le=4096,
        role="workload",
    )
    rounds: int = parameter(
        5, "Times that each step is timed", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: MixtureParameters) -> Needs:
    """Return the models' memory, with gradients and optimizer, and the packages that are read."""
    p = parameters
    weights = 8 * p.width**2 * p.experts * p.layers  # of one model's experts
    return Needs(
        memory_gib=1.5 + 5 * 16 * weights / 2**30,
        libraries=DOCUMENTED if p.docstrings else (),
    )


STUDY = Study(
    slug="mixture-of-experts",
    name="Mixture of experts",
    subject="more weights at the operations of few",
    summary=(
        "Trains small language models on the same text: dense ones of three widths, and mixtures in"
        " which a router sends each token to one of several experts, so that a token costs what it"
        " costs in the narrowest. Holds loss, parameters, operations and time against each other,"
        " and counts the tokens that find no place with their expert."
    ),
    limits=(
        "Small models trained for minutes: experts see few tokens each, where the publications"
        " train on hundreds of billions. All experts lie in one memory, so nothing is sent between"
        " devices, which is most of the cost of large mixtures. Experts run one after another; a"
        " GPU with a grouped kernel loses less to small products. One learning rate, chosen for the"
        " dense model, serves all; one seed, so no spread of losses is known. Of Tutel’s methods"
        " none is here."
    ),
    publications=("rajbhandari2022deepspeedmoe",),
    strategies=("mixture-of-experts", "distillation"),
    parameters=MixtureParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "width": 32,
                "layers": 2,
                "experts": 4,
                "steps": 4,
                "docstrings": False,
                "window": 16,
                "evaluation_windows": 16,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.7),
        CLAIMS: Preset(4, {"layers": 3, "steps": 350, "rounds": 9}),
        FULL: Preset(
            60,
            {"width": 256, "layers": 4, "steps": 3000, "evaluation_windows": 1024, "rounds": 15},
        ),
    },
    variants=(
        Variant(DENSE, "one feed-forward network in each block", "baseline"),
        Variant(TWICE, "the same with twice the hidden width", "baseline"),
        Variant(FOUR_TIMES, "the same with four times the hidden width", "baseline"),
        Variant(SWITCH, "a router and experts that are each as large as the dense network"),
        Variant(
            UNBALANCED, "the same, trained without the loss that evens out the experts", "ablation"
        ),
        Variant(
            PYRAMID,
            "half as many experts in later blocks, a quarter in earlier ones, each beside a dense"
            " network, a block less, and the switch model as teacher",
        ),
        Variant(
            SHALLOWER,
            "the dense model with as many blocks as the pyramid: what depth does",
            "control",
        ),
        Variant(ONE_EXPERT, "the dense model's weights in a mixture with one expert", "control"),
    ),
    settings=(
        Setting("capacity", "places of an expert over its even share of a batch’s tokens", "x"),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of the tokens of documents kept from training, every"
            " token with a place"
        ),
        metrics.LOSS_INCREASE.measured(
            "loss minus that of the dense model with as many operations a token; below zero is"
            " better"
        ),
        metrics.TRAINING_LOSS,
        metrics.PARAMETERS.measured(
            "all parameters, which must be in memory whatever a token reads"
        ),
        Metric(
            "active parameters",
            "parameters",
            LOWER,
            "cost",
            "counted",
            "parameters that take part in the computation of one token",
        ),
        metrics.OPERATIONS.measured(
            "of 1,000 tokens read: matrix products, the router's among them"
        ),
        metrics.STEP_TIME.measured(
            "wall clock of one training step on the same batch, without a teacher’s part,"
            " alternating, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "time of the dense model's training step divided by the variant's, alternating, median"
            " of rounds",
            relative_to=DENSE,
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens read in one batch divided by wall clock, alternating, median of rounds"
        ),
        Metric(
            "dropped tokens",
            "%",
            LOWER,
            "quality",
            "computed",
            "tokens of the evaluation text, in batches, that find no place with their expert, of"
            " all tokens and blocks",
        ),
        Metric(
            "balance loss",
            "",
            LOWER,
            None,
            "computed",
            "experts times the sum of shares of tokens times mean probabilities, on the evaluation"
            " text, mean of blocks; 1 if even",
        ),
        Metric(
            "fullest expert",
            "x",
            LOWER,
            None,
            "computed",
            "tokens of a block's fullest expert divided by an even share, on the evaluation text,"
            " mean of batches and blocks",
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit between the trained dense model and a mixture with one"
            " expert that has its weights"
        ),
    ),
    series=(
        Series("training loss by step", "step", "steps", "training loss"),
        Series("loss by capacity", "places over an even share", "x", "loss"),
        Series("dropped tokens by capacity", "places over an even share", "x", "dropped tokens"),
    ),
    headline=(
        Headline("loss increase", SWITCH),
        Headline("trainable parameters", SWITCH),
        Headline("speed-up", SWITCH),
    ),
    charts=(
        StudyChart(
            "trade",
            "Straight below the dense model is the same work at less loss, to the right is more"
            " work. The wider dense models show what more operations buy without experts.",
            x="operations",
            y="loss",
        ),
        StudyChart(
            "curves",
            "Each expert learns from its own tokens only, so a mixture may begin behind the dense"
            " model and pass it later.",
            series="training loss by step",
        ),
        StudyChart(
            "curves",
            "With places for an even share only, uneven routing drops tokens. Ask whether training"
            " without the balance loss drops more.",
            series="dropped tokens by capacity",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
