"""How many operations a model takes, and what share of a machine's rate they use."""

from casestudies.lab.equations.equation import (
    BATCH,
    DEVICES,
    LAYERS,
    PARAMETERS,
    POSITIVE,
    SHARE,
    TOKENS,
    VOCABULARY,
    WIDTH,
    Source,
    Symbol,
    equation,
)

SEEN_TOKENS = Symbol("D", "tokens", "tokens that pass through the model", "tokens", POSITIVE)
ENTRIES = Symbol(
    "E", "entries", "scores that one head of a layer makes: the sum of squared lengths", "scores"
)
FILL = Symbol("φ", "fill", "mean length divided by the longest", "fraction", SHARE)
TRAINED_TOKENS = Symbol("T", "tokens", "tokens that it is trained on", "tokens", POSITIVE)
RATE = Symbol("X", "rate", "rate that one device attains", "operation/s", POSITIVE)
OPERATIONS = Symbol("F", "operations", "operations of all devices together", "operations", POSITIVE)
SECONDS = Symbol("T", "seconds", "time that they took", "s", POSITIVE)
PEAK = Symbol("X", "peak_rate", "peak rate of one device", "operation/s", POSITIVE)

GPT_SHAPE = (
    "A GPT: feed-forward part four times as wide as the model, matrix products alone, a"
    " multiplication and an addition counted as two. Causal masks spare nothing in it."
)
NOT_GATED = "Not for gated feed-forward parts, grouped heads or experts; leaves out norms, softmax."
KORTHIKANTI = "korthikanti2022reducing"


@equation(
    "Operations of a forward pass, from parameters",
    "2·P·D",
    "operations",
    PARAMETERS,
    SEEN_TOKENS,
    holds="One multiplication and one addition for each parameter and token, prefill or decoding,"
    " where sequences are short beside the width.",
    fails="Leaves out the attention over earlier tokens. With experts, P is what a token reads."
    " Embeddings that are only looked up do not count.",
    sources=(
        Source(
            reference="Kaplan et al. 2020, Scaling Laws (arXiv 2001.08361)",
            place="section 2.1, equation 2.2",
            from_memory=True,
        ),
        Source(publication="pope2022efficiently", place="section 2", from_memory=True),
    ),
)
def forward_operations(*, parameters: float, tokens: float) -> float:
    """Return the operations of all tokens together."""
    return 2 * parameters * tokens


@equation(
    "Operations of a forward pass, from lengths",
    "2·P·D + 4·L·h·E",
    "operations",
    PARAMETERS,
    SEEN_TOKENS,
    LAYERS,
    WIDTH,
    ENTRIES,
    holds="P of the linear layers alone; heads together as wide as the model. Without padding D is"
    " the sum of lengths and E that of their squares; in a padded batch D is b·s and E is b·s².",
    fails="Causal masks spare nothing in it, norms, softmax and embeddings are left out, and so is"
    " what gathering and scattering tokens takes, which is time and no operation.",
    sources=(
        Source(
            publication="zhai2022bytetransformer",
            place="section III, padding-free algorithm; its table counts one layer",
            from_memory=True,
        ),
    ),
)
def forward_operations_of_lengths(
    *, parameters: int, tokens: int, layers: int, hidden: int, entries: int
) -> float:
    """Return the operations of a batch of texts of any lengths."""
    return 2 * parameters * tokens + 4 * layers * hidden * entries


@equation(
    "Operations of a layer without padding",
    "24·φ·b·s·h² + 4·φ²·b·s²·h",
    "operations",
    FILL,
    BATCH,
    TOKENS,
    WIDTH,
    holds="A layer of BERT: a feed-forward part four times as wide as the model. s is the longest"
    " text. φ = 1 is the padded batch.",
    fails="Texts that differ have a larger sum of squares than b·(φ·s)²: the second part is the"
    " least that attention takes, reached where all are as long as the mean.",
    sources=(
        Source(
            publication="zhai2022bytetransformer",
            place="section III, the table of a single layer's computation",
            from_memory=True,
        ),
    ),
)
def layer_operations_without_padding(*, fill: float, batch: int, tokens: int, hidden: int) -> float:
    """Return the operations of one layer, given how full the padded batch would be."""
    return 24 * fill * batch * tokens * hidden**2 + 4 * fill**2 * batch * tokens**2 * hidden


@equation(
    "Operations of training, from parameters",
    "6·P·D",
    "operations",
    PARAMETERS,
    SEEN_TOKENS,
    holds="Forward once and backward twice 2·P, where sequences are short beside the width.",
    fails="Leaves out attention and recomputation. With experts, P is what a token reads.",
    sources=(
        Source(
            reference="Kaplan et al. 2020, Scaling Laws (arXiv 2001.08361)",
            place="section 2.1",
            from_memory=True,
        ),
        Source(reference="Brown et al. 2020, GPT-3 (arXiv 2005.14165)", place="table D.1"),
    ),
)
def training_operations(*, parameters: float, tokens: float) -> float:
    """Return the operations of the whole training."""
    return 6 * parameters * tokens


@equation(
    "Operations of a forward pass, from the shape",
    "24·b·L·s·h²·(1 + s/(6·h) + V/(12·h·L))",
    "operations",
    BATCH,
    LAYERS,
    TOKENS,
    WIDTH,
    VOCABULARY,
    holds=GPT_SHAPE,
    fails=NOT_GATED,
    sources=(
        Source(
            publication=KORTHIKANTI, place="appendix A; a third of equation 7", from_memory=True
        ),
    ),
)
def forward_operations_of_shape(
    *, batch: int, layers: int, tokens: int, hidden: int, vocabulary: int
) -> float:
    """Return the operations of the batch: matrices, attention, and the scores of the vocabulary."""
    matrices = 24 * layers * hidden**2
    attention = 4 * layers * tokens * hidden
    return batch * tokens * (matrices + attention + 2 * hidden * vocabulary)


@equation(
    "Operations of a training step",
    "72·b·L·s·h²·(1 + s/(6·h) + V/(12·h·L))",
    "operations",
    BATCH,
    LAYERS,
    TOKENS,
    WIDTH,
    VOCABULARY,
    holds=GPT_SHAPE + " What the model needs, whoever computes it: the basis of model FLOP/s"
    " utilization (MFU).",
    fails=NOT_GATED,
    sources=(Source(publication=KORTHIKANTI, place="equation 7"),),
)
def step_operations(*, batch: int, layers: int, tokens: int, hidden: int, vocabulary: int) -> float:
    """Return the operations of one step without any recomputation."""
    return 3 * forward_operations_of_shape(
        batch=batch, layers=layers, tokens=tokens, hidden=hidden, vocabulary=vocabulary
    )


@equation(
    "Operations of a training step, attention recomputed",
    "72·b·L·s·h²·(1 + s/(3·h) + V/(12·h·L))",
    "operations",
    BATCH,
    LAYERS,
    TOKENS,
    WIDTH,
    VOCABULARY,
    holds=GPT_SHAPE + " With selective recomputation: the basis of hardware FLOP/s utilization"
    " (HFU).",
    fails=NOT_GATED + " It adds 12·b·L·s²·h, as much as attention takes forward and backward; one"
    " forward pass of attention is 4·b·L·s²·h, so it is an upper estimate.",
    sources=(Source(publication=KORTHIKANTI, place="equation 8"),),
)
def step_operations_selective(
    *, batch: int, layers: int, tokens: int, hidden: int, vocabulary: int
) -> float:
    """Return the operations of one step with selective recomputation, as the paper counts them."""
    model = step_operations(
        batch=batch, layers=layers, tokens=tokens, hidden=hidden, vocabulary=vocabulary
    )
    return model + 12 * batch * layers * tokens**2 * hidden


@equation(
    "Operations of a training step, all layers recomputed",
    "96·b·L·s·h²·(1 + s/(6·h) + V/(16·L·h))",
    "operations",
    BATCH,
    LAYERS,
    TOKENS,
    WIDTH,
    VOCABULARY,
    holds=GPT_SHAPE
    + " With every layer computed forward twice, the scores of the vocabulary once.",
    fails=NOT_GATED,
    sources=(Source(publication="narayanan2021ptdp", place="equation 3", from_memory=True),),
)
def step_operations_full(
    *, batch: int, layers: int, tokens: int, hidden: int, vocabulary: int
) -> float:
    """Return the operations of one step with full recomputation."""
    layer = 96 * hidden**2 + 16 * tokens * hidden
    return batch * tokens * (layers * layer + 6 * hidden * vocabulary)


@equation(
    "Utilization",
    "F/(T·n·X)",
    "fraction",
    OPERATIONS,
    SECONDS,
    DEVICES,
    PEAK,
    holds="MFU with the operations of the model, HFU with those that were carried out. X is the"
    " dense rate in the precision used.",
    fails="A datasheet's rate with 2:4 sparsity halves it; a value above 1 shows a wrong input.",
    sources=(
        Source(publication=KORTHIKANTI, place="table 5"),
        Source(
            reference="Chowdhery et al. 2022, PaLM (arXiv 2204.02311)",
            place="section 4.1, appendix B",
            from_memory=True,
        ),
    ),
)
def utilization(*, operations: float, seconds: float, devices: int, peak_rate: float) -> float:
    """Return the share of the devices' peak rate that the operations used."""
    return operations / (seconds * devices * peak_rate)


@equation(
    "Rate of all devices",
    "n·X",
    "operation/s",
    DEVICES,
    RATE,
    holds="X is the mean rate of a device in the same run, waiting included.",
    fails="Says nothing of another number of devices: X falls as waiting grows.",
    sources=(Source(publication="narayanan2021ptdp", place="table 1"),),
)
def aggregate_rate(*, devices: int, rate: float) -> float:
    """Return the operations that all devices carry out in a second."""
    return devices * rate


@equation(
    "Time of training",
    "8·T·P/(n·X)",
    "s",
    TRAINED_TOKENS,
    PARAMETERS,
    DEVICES,
    RATE,
    holds="Full recomputation (8 = 6 + 2) and sequences that are short beside the width.",
    fails="Without recomputation it is 6; leaves out failures, checkpoints and restarts.",
    sources=(Source(publication="narayanan2021ptdp", place="equation 4"),),
)
def training_seconds(*, tokens: float, parameters: float, devices: int, rate: float) -> float:
    """Return the time from the first to the last step."""
    return 8 * tokens * parameters / (devices * rate)
