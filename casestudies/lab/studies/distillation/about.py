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

TRAINED_HERE, BERT, SMOLLM2 = "trained here", "BERT-base", "SmolLM2-135M"
LONGER, RANDOM = "alone, as many operations", "distilled, random start"

BERT_BLOCKS = 12  # what the rule asks for
# What this study asks for besides: a lesson needs a teacher, a standard error several students.
LEAST_STEPS, LEAST_REPEATS = 300, 3


class DistillationParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        128,
        "Width of the teacher that is trained, with heads of 32",
        unit="numbers",
        ge=32,
        le=2048,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        6,
        "Blocks of that teacher, half of which the student keeps",
        unit="blocks",
        ge=4,
        le=48,
        multiple_of=2,
        role="workload",
    )
    teacher_steps: int = parameter(
        450,
        "Steps of the teacher’s training, each on 16 windows of 64 tokens",
        unit="steps",
        ge=1,
        le=50_000,
        role="workload",
    )
    steps: int = parameter(
        50, "Steps of a student’s training", unit="steps", ge=1, le=50_000, role="workload"
    )
    temperature: float = parameter(
        2.0, "Temperature of the soft loss", ge=0.5, le=100, role="method"
    )
    soft_weight: float = parameter(5.0, "Weight of the soft loss", ge=0.1, le=100, role="method")
    hard_weight: float = parameter(
        2.0, "Weight of the text’s own loss", ge=0, le=100, role="method"
    )
    hidden_weight: float = parameter(
        1.0, "Weight of the hidden states’ loss", ge=0, le=100, role="method"
    )
    repeats: int = parameter(
        1,
        "Students of each kind, on other batches and from other random weights",
        unit="students",
        ge=1,
        le=20,
        role="effort",
    )
    timed_blocks: int = parameter(
        BERT_BLOCKS,
        "Blocks of BERT’s shape that are timed, and two and a half times as many of SmolLM2’s",
        unit="blocks",
        ge=4,
        le=BERT_BLOCKS,
        multiple_of=4,
        role="workload",
    )
    rounds: int = parameter(
        9, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def size(result: Result) -> Judgement:
    """DistilBERT 0: half the blocks, without pooler and token types, hold 40 % less."""
    fewer = {
        shape: result.value("fewer parameters", "distilled", shape=shape)
        for shape in (BERT, SMOLLM2)
    }
    return judged(
        Number(
            "parameters of BERT-base over those of its half",
            1 / (1 - fewer[BERT] / 100),
            "x",
            claimed=True,
        ),
        Number("fewer parameters, BERT-base", fewer[BERT], "%"),
        Number("fewer parameters, SmolLM2-135M", fewer[SMOLLM2], "%"),
        supported=39 <= fewer[BERT] <= 41,
        agrees=30 <= fewer[BERT] <= 50,
    )


def retained(result: Result) -> Judgement:
    """DistilBERT 1: a student keeps nine tenths, and more than one without the teacher."""
    steps, repeats = (result.whole(name) for name in ("teacher_steps", "repeats"))
    if steps < LEAST_STEPS or repeats < LEAST_REPEATS:
        return not_run(
            f"needs a teacher of {LEAST_STEPS} steps or more and {LEAST_REPEATS} students of a kind"
        )
    kept = result.value("accuracy kept", "distilled")
    lead = result.value("lead of distillation", "alone")
    error = result.value("standard error of the lead", "alone")
    return judged(
        Number("of the teacher’s next-token accuracy", kept, "%"),
        Number("the same, trained alone", result.value("accuracy kept", "alone"), "%"),
        Number(
            "the same, alone with as many operations", result.value("accuracy kept", LONGER), "%"
        ),
        Number("lead over the one trained alone", lead, "points"),
        Number("its standard error", error, "points"),
        agrees=kept >= 90 and lead > 2 * error,
    )


def speed(result: Result) -> Judgement:
    """DistilBERT 2: half of BERT's blocks take less time."""
    if result.environment.device != "cpu":
        return not_run("the rule asks for a CPU")
    if result.parameters["timed_blocks"] != BERT_BLOCKS:
        return not_run(f"the rule asks for {BERT_BLOCKS} blocks against half of them")
    whole, half = (
        result.value("forward time", variant, shape=BERT) for variant in ("teacher", "distilled")
    )
    faster = 100 * (whole / half - 1)
    return judged(
        Number("time of BERT-base over that of its half", whole / half, "x", claimed=True),
        Number("faster, BERT-base", faster, "%"),
        supported=faster >= 60,
        agrees=faster >= 30,
    )


def needs(parameters: DistillationParameters) -> Needs:
    """Return the memory of the shapes that are timed, and of teacher, student and Adam's state."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 1024 * p.width
    activations = 4 * 16 * 64 * (40 * p.layers * p.width + 6 * 1024)
    return Needs(memory_gib=2.5 + (24 * weights + activations) / GIB)


STUDY = Study(
    slug="distillation",
    name="Distillation",
    subject="half the blocks, taught by the whole model",
    summary=(
        "Trains a small language model, makes a student of every second of its blocks, and trains"
        " that by DistilBERT’s recipe: to give the teacher’s softened probabilities, the text’s"
        " own next token, and hidden states of the same direction. Holds it against the same"
        " student trained without the teacher, on as many tokens and with as many operations, and"
        " counts and times half the blocks of BERT and SmolLM2."
    ),
    limits=(
        "A teacher of a few million weights and a few hundred steps is far from all that it could"
        " learn, so a student loses little by having half its blocks; how much half of a large and"
        " fully trained model loses is not seen. Accuracy here is that of the next token, not of"
        " tasks as in GLUE. With a teacher of 300 steps the student trained alone was ahead: the"
        " outcome depends on how much more the teacher knows. Known shapes have random weights:"
        " they are counted and timed only."
    ),
    publications=("sanh2019distilbert",),
    strategies=("distillation",),
    parameters=DistillationParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "width": 32,
                "layers": 4,
                "teacher_steps": 8,
                "steps": 5,
                "timed_blocks": 4,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5, {"teacher_steps": 200, "timed_blocks": 8, "rounds": 3}),
        CLAIMS: Preset(4, {"teacher_steps": 600, "steps": 100, "repeats": 3, "rounds": 15}),
        FULL: Preset(
            60,
            {
                "width": 256,
                "layers": 8,
                "teacher_steps": 3000,
                "steps": 600,
                "repeats": 3,
                "rounds": 31,
            },
        ),
    },
    variants=(
        Variant("teacher", "all blocks", "baseline"),
        Variant("alone", "half the blocks, trained on the text without the teacher", "baseline"),
        Variant("distilled", "half the blocks, trained on the same text by the teacher"),
        Variant(
            LONGER,
            "half the blocks, trained on so much more text without the teacher that it takes as"
            " many operations as distilling",
            "control",
        ),
        Variant("cut", "half the blocks, not trained", "control"),
        Variant("no hidden states", "distilled without the loss of hidden states", "ablation"),
        Variant(
            RANDOM,
            "distilled, but beginning with random weights and not with the teacher’s",
            "ablation",
        ),
    ),
    settings=(Setting("shape", "whose sizes the model has"),),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of the tokens of text kept apart; median of students"
        ),
        Metric(
            "next-token accuracy",
            "%",
            HIGHER,
            "quality",
            "computed",
            "share of the tokens of text kept apart that the likeliest guess hits; median of"
            " students",
        ),
        Metric(
            "accuracy kept",
            "%",
            HIGHER,
            "quality",
            "computed",
            "next-token accuracy divided by the teacher’s",
        ),
        Metric(
            "lead of distillation",
            "points",
            NEITHER,
            "quality",
            "computed",
            "accuracy of the distilled student minus this one’s on the same windows, mean of"
            " windows and students",
        ),
        Metric(
            "standard error of the lead",
            "points",
            LOWER,
            None,
            "computed",
            "of the lead’s mean over windows and over students, both variances added; of one"
            " student, over windows only",
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit of the untrained student from the teacher’s with the"
            " missing blocks’ last matrices set to zero"
        ),
        Metric(
            "distance from matching logits",
            "fraction",
            NEITHER,
            None,
            "computed",
            "of the soft loss’s gradient from its limit at a high temperature, divided by that"
            " limit; at the highest temperature tried, 1,024",
        ),
        Metric("parameters", "million", LOWER, "model-size", "counted", "numbers of all weights"),
        Metric(
            "fewer parameters",
            "%",
            HIGHER,
            "model-size",
            "counted",
            "1 minus the student’s parameters divided by its teacher’s",
        ),
        Metric("weights", "MiB", LOWER, "model-size", "counted", "bytes of all weights in float32"),
        Metric(
            "operations of training",
            "TFLOP",
            LOWER,
            "cost",
            "counted",
            "multiplications and additions of all matrix products, the teacher’s among them",
        ),
        metrics.TOKENS_READ.measured("tokens that a student is trained on, repeats counted"),
        Metric(
            "forward time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of one text of 128 tokens, alternating, median of rounds; of SmolLM2 the"
            " logits of the last token only",
        ),
        metrics.SPEED_UP.measured(
            "the teacher’s forward time divided by the student’s, alternating, median of rounds",
            relative_to="the teacher",
        ),
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of one token more after 128 with keys and values kept, alternating, median"
            " of rounds"
        ),
    ),
    series=(
        Series("loss by operations", "operations", "TFLOP", "loss"),
        Series(
            "distance from matching logits",
            "exponent of the temperature",
            "",
            "distance from matching logits",
        ),
    ),
    headline=(
        Headline("accuracy kept", "distilled"),
        Headline("accuracy kept", "alone"),
        Headline("accuracy kept", LONGER),
    ),
    charts=(
        StudyChart(
            "curves",
            "Every line ends where training did. Distilled and alone have read the same tokens,"
            " but the teacher’s part costs operations: the control spends them on more text.",
            series="loss by operations",
        ),
        StudyChart(
            "bars",
            "How much of the teacher’s accuracy is left. Cut says what half the blocks are worth"
            " before any training, random start what the teacher’s weights give beside its"
            " answers.",
            y="accuracy kept",
        ),
        StudyChart(
            "curves",
            "The soft loss at a temperature of 2 to this power. Its gradient goes to that of"
            " matching logits by squares; at temperatures of 1 and 4 it is far from there. The"
            " student is the untrained one.",
            series="distance from matching logits",
        ),
    ),
    answers=(
        Answer("sanh2019distilbert-0", "92f58fa18dd1", size),
        Answer("sanh2019distilbert-1", "5b292d97bb6a", retained),
        Answer("sanh2019distilbert-2", "5ef612f677a3", speed),
    ),
    accepts=("text",),
    needs=needs,
)
