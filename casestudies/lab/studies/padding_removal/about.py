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
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.result import Result

BERT_HEADS, HEAD_WIDTH = 12, 64
SHORTEST = 128  # of the longest texts that attention alone is measured on
ATTENTION_FILL = 0.6  # which the publication's own measurements have


class PaddingRemovalParameters(Parameters):
    """What a reader may set."""

    batch: int = parameter(4, "Texts in a batch", unit="texts", ge=2, le=128, role="workload")
    batches: int = parameter(
        3, "Batches, from which the texts of buckets are taken", ge=1, le=64, role="workload"
    )
    longest: int = parameter(
        64,
        "Longest text; what is longer is cut, and batches whose fill is set have one as long",
        unit="tokens",
        ge=32,
        le=2048,
        role="workload",
    )
    blocks: int = parameter(
        2,
        "First blocks of the model that read texts whose fill is set; real lengths are read by all",
        unit="blocks",
        ge=1,
        le=128,
        role="workload",
    )
    attention_batch: int = parameter(
        16, "Texts whose attention alone is measured", unit="texts", ge=4, le=64, role="workload"
    )
    attention_longest: int = parameter(
        512,
        "Longest of these, in steps of two from 128 on",
        unit="tokens",
        ge=SHORTEST,
        le=4096,
        role="workload",
    )
    rounds: int = parameter(
        3, "Times that each is measured", unit="rounds", ge=2, le=100, role="effort"
    )


def fused_variable_length_attention(result: Result) -> Judgement:
    """Claim 0: fused attention without padding is 6.13 x PyTorch's by definition, on a GPU."""
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    asked = {"attention_batch": 16, "attention_longest": 1024}
    if any(result.parameters[name] != value for name, value in asked.items()):
        return not_run("asks for 16 texts and lengths of 128 to 1,024")
    speeds = [
        result.value("attention speed-up", "varlen", length=length)
        for length in (128, 256, 512, 1024)
    ]
    mean = sum(speeds) / len(speeds)
    return judged(
        Number(
            "speed-up of variable-length attention, mean over lengths",
            mean,
            "x by definition",
            claimed=True,
        ),
        supported=mean >= 6.13,
        agrees=mean >= 1.5,
    )


def needs(parameters: PaddingRemovalParameters) -> Needs:
    """Return the scores of attention by definition three times over, logits and a model."""
    p = parameters
    scores = 3 * 4 * BERT_HEADS * p.attention_batch * p.attention_longest**2
    logits = 3 * 4 * 49_152 * p.batch * p.longest
    return Needs(memory_gib=2 + max(scores, logits) / GIB)


STUDY = Study(
    slug="padding-removal",
    name="Padding removal",
    subject="texts of different lengths in a batch, as one row without padding",
    summary=(
        "Texts of a batch differ in length, and are padded to the longest. ByteTransformer packs"
        " their tokens into one row by a prefix sum over the lengths: linear layers read the row,"
        " and attention unpacks it for a while, or goes over each text as long as it is. A language"
        " model scores real paragraphs padded, packed in both ways, in buckets of similar lengths"
        " and one by one; what each multiplies is counted, and that all say the same is checked."
    ),
    limits=(
        "On a CPU variable-length attention is one call of the fused kernel for each text:"
        " PyTorch’s own varlen_attn has no kernel for a CPU, and its nested tensors no causal"
        " attention there. A GPU needs larger batches to be busy, so that one by one costs more"
        " there; times there are of 16 bits, likelihoods compared in 32. Training, where packing"
        " also saves activations, is not measured."
    ),
    publications=("zhai2022bytetransformer",),
    strategies=("algorithmic-optimization", "layer-specific-kernels"),
    parameters=PaddingRemovalParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "batch": 2,
                "batches": 1,
                "longest": 32,
                "blocks": 1,
                "attention_batch": 4,
                "attention_longest": 128,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5, {"batches": 2}),
        CLAIMS: Preset(
            1,
            {
                "batch": 2,
                "batches": 1,
                "longest": 32,
                "blocks": 1,
                "attention_longest": 1024,
                "rounds": 5,
            },
        ),
        FULL: Preset(
            30,
            {
                "batch": 8,
                "batches": 8,
                "longest": 512,
                "blocks": 6,
                "attention_longest": 1024,
                "rounds": 9,
            },
        ),
    },
    variants=(
        Variant("padded", "a batch as it arrives, each text padded to the longest", "baseline"),
        Variant("buckets", "all texts sorted by length, then batches padded", "control"),
        Variant("one by one", "no batch: each text alone", "control"),
        Variant("unpacked", "a row of tokens for linear layers, unpacked for attention"),
        Variant("varlen", "a row of tokens, and attention over each text as long as it is"),
        Variant(
            "definition",
            "attention alone: padded, every score held, as PyTorch wrote it in 2022",
            "control",
        ),
    ),
    settings=(
        Setting("fill", "mean length divided by the longest", "%"),
        Setting("length", "longest text whose attention alone is measured", "tokens", one="token"),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference of any token’s negative log-likelihood from that of the text read"
            " alone, in nats; with a length, of attention’s outputs from the definition’s"
        ),
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the paragraphs’ tokens, by the whole model"
        ),
        metrics.TOKENS_READ.measured(
            "tokens and padding that each linear layer of the blocks read, counted as it is called"
        ),
        Metric(
            "scores",
            "scores",
            LOWER,
            "cost",
            "counted",
            "scores that one head of a block makes, from the shapes that attention is called with;"
            " what a causal mask hides is counted too",
        ),
        metrics.OPERATIONS.measured(
            "multiplications and additions of the blocks’ matrix products, counted as they are"
            " called"
        ),
        Metric(
            "slots per token",
            "x",
            LOWER,
            "cost",
            "counted",
            "what linear layers read, divided by the texts’ own tokens; over all paragraphs of the"
            " text for the curve, planned and not read",
        ),
        metrics.SPEED_UP.measured(
            "time of the padded batches divided by the variant’s, alternating, median of rounds:"
            " all blocks and the head on real paragraphs; with a fill, the first blocks on pieces"
            " of real text cut to that fill",
            relative_to="padded",
        ),
        Metric(
            "attention time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of attention alone over all texts of that length, median of rounds",
        ),
        Metric(
            "attention speed-up",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of attention by definition over padded texts divided by the variant’s; 12 heads"
            " of 64, every token seen, about 60 % filled; float16 on a GPU and float32 on a CPU,"
            " alternating, median of rounds",
            relative_to="definition",
        ),
    ),
    series=(
        Series("speed-up by fill", "fill", "%", "speed-up"),
        Series("slots per token by pool", "batches sorted together", "batches", "slots per token"),
        Series("attention speed-up by length", "length", "tokens", "attention speed-up"),
    ),
    headline=(
        Headline("speed-up", "varlen"),
        Headline("speed-up", "buckets"),
        Headline("slots per token", "padded"),
    ),
    charts=(
        StudyChart(
            "curves",
            "The emptier the padded batch, the more is saved. Where it is full, right, nothing is,"
            " and what unpacked and varlen are below 1 there is what packing itself takes; one by"
            " one shows what it takes to have no batch.",
            series="speed-up by fill",
        ),
        StudyChart(
            "curves",
            "Sorting more batches together brings buckets near to one slot for each token, which"
            " packing has at once; but whoever sorts waits for those texts.",
            series="slots per token by pool",
        ),
        StudyChart(
            "curves",
            "Two things are gained: padded is only fused, varlen is fused and has no padding.",
            series="attention speed-up by length",
        ),
    ),
    answers=(Answer("zhai2022bytetransformer-0", "1ae9dfe04145", fused_variable_length_attention),),
    accepts=("model", "text"),
    needs=needs,
)
