"""Bytes that a layer keeps for its backward pass, and that attention's scores take."""

from casestudies.lab.equations.equation import (
    BATCH,
    CHUNKS,
    HEAD_WIDTH,
    HEADS,
    KV_HEADS,
    LAYERS,
    NUMBER_BYTES,
    POSITIVE,
    STAGES,
    TENSOR_RANKS,
    TOKENS,
    VOCABULARY,
    WIDTH,
    Source,
    Symbol,
    check_divides,
    equation,
)
from casestudies.lab.equations.parameters import FFN

LAYER_BYTES = Symbol("A", "layer_bytes", "bytes that a layer keeps", "byte", POSITIVE)
SEQUENCE = Symbol("N", "tokens", "tokens in the sequence", "tokens")
FAST_NUMBERS = Symbol(
    "M", "fast_numbers", "numbers that fit into the fast memory (SRAM)", "numbers"
)
QUERY_ROWS = Symbol("B_r", "query_rows", "queries of a tile", "tokens")
KEY_COLUMNS = Symbol("B_c", "key_columns", "keys of a tile", "tokens")

KORTHIKANTI = "korthikanti2022reducing"
GPT_LAYER = (
    "A layer of a GPT in 16 bits: feed-forward part four times as wide as the model, dropout with"
    " masks of one byte, scores of attention kept."
)
NOT_LLAMA = (
    "Not for gated feed-forward parts or models without dropout (Llama), nor for grouped heads: the"
    " constants differ. On a CPU, dropout keeps its mask in the activation's type."
)


def _check_split(heads: int, tensor_ranks: int) -> None:
    check_divides(TENSOR_RANKS, tensor_ranks, HEADS, heads)


@equation(
    "Activations of a layer",
    "s·b·h·(34 + 5·a·s/h)",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    HEADS,
    holds=GPT_LAYER,
    fails=NOT_LLAMA + " Leaves out the statistics of the norms. Attention in tiles keeps no scores:"
    " then without 5·a·s/h.",
    sources=(Source(publication=KORTHIKANTI, place="equation 1"),),
)
def layer_activation_bytes(*, tokens: int, batch: int, hidden: int, heads: int) -> float:
    """Return the bytes that one layer keeps, on one device, nothing recomputed."""
    return tokens * batch * (34 * hidden + 5 * heads * tokens)


@equation(
    "Activations of a layer, tensor parallel",
    "s·b·h·(10 + 24/t + 5·a·s/(h·t))",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    HEADS,
    TENSOR_RANKS,
    holds=GPT_LAYER + " Norms, dropout and inputs are on every rank.",
    fails=NOT_LLAMA,
    sources=(Source(publication=KORTHIKANTI, place="equation 2"),),
)
def tensor_parallel_activation_bytes(
    *, tokens: int, batch: int, hidden: int, heads: int, tensor_ranks: int
) -> float:
    """Return the bytes that one layer keeps on each rank; t must divide the heads."""
    _check_split(heads, tensor_ranks)
    split = 24 * hidden + 5 * heads * tokens
    return tokens * batch * (10 * hidden + split / tensor_ranks)


@equation(
    "Activations of a layer, tensor and sequence parallel",
    "s·b·h·(34 + 5·a·s/h)/t",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    HEADS,
    TENSOR_RANKS,
    holds=GPT_LAYER + " Norms and dropout are split along the sequence.",
    fails=NOT_LLAMA,
    sources=(Source(publication=KORTHIKANTI, place="equation 4"),),
)
def sequence_parallel_activation_bytes(
    *, tokens: int, batch: int, hidden: int, heads: int, tensor_ranks: int
) -> float:
    """Return the bytes that one layer keeps on each rank; t must divide heads and tokens."""
    _check_split(heads, tensor_ranks)
    check_divides(TENSOR_RANKS, tensor_ranks, TOKENS, tokens)
    whole = layer_activation_bytes(tokens=tokens, batch=batch, hidden=hidden, heads=heads)
    return whole / tensor_ranks


@equation(
    "Activations of a layer, tensor parallel, attention recomputed",
    "s·b·h·(10 + 24/t)",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    TENSOR_RANKS,
    holds=GPT_LAYER + " Selective recomputation; attention in tiles keeps as little.",
    fails=NOT_LLAMA,
    sources=(Source(publication=KORTHIKANTI, place="section 5, table 2"),),
)
def selective_activation_bytes(*, tokens: int, batch: int, hidden: int, tensor_ranks: int) -> float:
    """Return the bytes that one layer keeps on each rank, scores and their dropout recomputed."""
    return tokens * batch * hidden * (10 + 24 / tensor_ranks)


@equation(
    "Activations of a layer, tensor and sequence parallel, attention recomputed",
    "34·s·b·h/t",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    TENSOR_RANKS,
    holds=GPT_LAYER + " Selective recomputation; attention in tiles keeps as little.",
    fails=NOT_LLAMA,
    sources=(Source(publication=KORTHIKANTI, place="equation 6, table 2"),),
)
def sequence_parallel_selective_activation_bytes(
    *, tokens: int, batch: int, hidden: int, tensor_ranks: int
) -> float:
    """Return the bytes that one layer keeps on each rank; t must divide the tokens."""
    check_divides(TENSOR_RANKS, tensor_ranks, TOKENS, tokens)
    return 34 * tokens * batch * hidden / tensor_ranks


@equation(
    "Activations of a layer, all recomputed",
    "2·s·b·h",
    "byte",
    TOKENS,
    BATCH,
    WIDTH,
    holds="Any layer whose input alone is kept, in 16 bits.",
    fails="While a layer is recomputed, all its activations are there as well.",
    sources=(Source(publication=KORTHIKANTI, place="table 2"),),
)
def full_recompute_activation_bytes(*, tokens: int, batch: int, hidden: int) -> float:
    """Return the bytes that one layer keeps on each rank: its input."""
    return 2 * tokens * batch * hidden


@equation(
    "Activations of a Llama-style layer",
    "e·s·b·(4·h + 2·a·d + 2·k·d + 4·f)",
    "byte",
    NUMBER_BYTES,
    TOKENS,
    BATCH,
    WIDTH,
    HEADS,
    KV_HEADS,
    HEAD_WIDTH,
    FFN,
    holds="Gated feed-forward part, no dropout, attention in tiles, on one device: every operation"
    " keeps its inputs, each once.",
    fails="Leaves out the statistics of norms and softmax, a few numbers a token. A norm that"
    " computes in 32 bits by several kernels, as PyTorch's on a CPU, keeps h more, so 6·h in all.",
    sources=(
        Source(
            reference="derived as equation 1 of Korthikanti et al. is, for another layer",
            place="held by counting what PyTorch keeps",
        ),
    ),
)
def gated_layer_activation_bytes(
    *,
    number_bytes: float,
    tokens: int,
    batch: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    ffn: int,
) -> float:
    """Return the bytes that one layer keeps, nothing recomputed."""
    attention = 2 * (heads + kv_heads) * head_dim
    return number_bytes * tokens * batch * (4 * hidden + attention + 4 * ffn)


@equation(
    "Share that recomputing attention saves",
    "(5·a·s/h)/(34 + 5·a·s/h)",
    "fraction",
    HEADS,
    TOKENS,
    WIDTH,
    holds=GPT_LAYER,
    fails=NOT_LLAMA + " With attention in tiles nothing is left to save.",
    sources=(Source(publication=KORTHIKANTI, place="section 5"),),
)
def selective_saving(*, heads: int, tokens: int, hidden: int) -> float:
    """Return the share of a layer's activations that selective recomputation does not keep."""
    scores = score_term(heads=heads, tokens=tokens, hidden=hidden)
    return scores / (34 + scores)


@equation(
    "Activations of attention's scores, beside 34 for the rest",
    "5·a·s/h",
    "byte",
    HEADS,
    TOKENS,
    WIDTH,
    holds=GPT_LAYER,
    fails=NOT_LLAMA,
    sources=(Source(publication=KORTHIKANTI, place="section 5"),),
)
def score_term(*, heads: int, tokens: int, hidden: int) -> float:
    """Return the bytes of scores, softmax and dropout for each number of the layer's input."""
    return 5 * heads * tokens / hidden


@equation(
    "Activations of the first stage of a pipeline",
    "L·A·(1 + (p - 1)/(p·v)) for v > 1, else L·A",
    "byte",
    LAYERS,
    LAYER_BYTES,
    STAGES,
    CHUNKS,
    holds="1F1B, plain (v = 1) and interleaved, with enough micro-batches to fill the pipeline. The"
    " first stage keeps most: for v = 1 p micro-batches of L/p layers.",
    fails="Leaves out embedding, dropout of the input and the scores of the vocabulary. GPipe keeps"
    " all micro-batches.",
    sources=(Source(publication=KORTHIKANTI, place="section 4.2.3, equation 5"),),
)
def first_stage_activation_bytes(
    *, layers: int, layer_bytes: float, stages: int, chunks: int
) -> float:
    """Return the bytes that the first stage keeps when it holds most; `layers` are of the model."""
    whole = layers * layer_bytes
    return whole if chunks == 1 else whole * (1 + (stages - 1) / (stages * chunks))


@equation(
    "Scores of the vocabulary",
    "4·s·b·V/t",
    "byte",
    TOKENS,
    BATCH,
    VOCABULARY,
    TENSOR_RANKS,
    holds="32-bit scores of every token in training, the vocabulary split over t ranks.",
    fails="Their gradient takes as much again. Decoding needs the last token's alone; a loss that"
    " works in parts keeps fewer.",
    sources=(Source(publication=KORTHIKANTI, place="section 4.3"),),
)
def logit_bytes(*, tokens: int, batch: int, vocabulary: int, tensor_ranks: int) -> float:
    """Return the bytes of the scores on each rank, without their gradient."""
    return 4 * tokens * batch * vocabulary / tensor_ranks


@equation(
    "Scores of naive attention",
    "b·a·s²·e",
    "byte",
    BATCH,
    HEADS,
    TOKENS,
    NUMBER_BYTES,
    holds="One matrix of scores for each head, as attention written out step by step makes it,"
    " masked or not.",
    fails="Softmax and dropout may each make another. Attention in tiles makes none.",
    sources=(Source(publication="dao2022flashattention", place="algorithm 0"),),
)
def score_matrix_bytes(*, batch: int, heads: int, tokens: int, number_bytes: float) -> float:
    """Return the bytes of the scores of all heads of one layer."""
    return batch * heads * tokens**2 * number_bytes


@equation(
    "Scores of attention in tiles",
    "B_r·B_c·e",
    "byte",
    QUERY_ROWS,
    KEY_COLUMNS,
    NUMBER_BYTES,
    holds="One tile at a time; whoever works on several heads at one time has one for each.",
    fails="Leaves out the running maxima and sums, two numbers a query.",
    sources=(Source(publication="dao2022flashattention", place="algorithm 1"),),
)
def score_tile_bytes(*, query_rows: int, key_columns: int, number_bytes: float) -> float:
    """Return the bytes of the scores that exist at one time, whatever the sequence's length."""
    return query_rows * key_columns * number_bytes


@equation(
    "Accesses of naive attention, order of growth",
    "N·d + N²",
    "numbers",
    SEQUENCE,
    HEAD_WIDTH,
    holds="Growth of the reads and writes of slow memory (HBM), one head, forward.",
    fails="A bound up to a constant: compare how it grows, not its value.",
    sources=(Source(publication="dao2022flashattention", place="theorem 2"),),
)
def naive_attention_accesses(*, tokens: int, head_dim: int) -> float:
    """Return the term in the bound, without its constant."""
    return tokens * head_dim + tokens**2


@equation(
    "Accesses of attention in tiles, order of growth",
    "N²·d²/M",
    "numbers",
    SEQUENCE,
    HEAD_WIDTH,
    FAST_NUMBERS,
    holds="Growth of the reads and writes of slow memory (HBM), one head, forward, for"
    " d ≤ M ≤ N·d.",
    fails="A bound up to a constant: compare how it grows, not its value. Where M is below d²,"
    " tiles do not help.",
    sources=(Source(publication="dao2022flashattention", place="theorem 2"),),
)
def tiled_attention_accesses(*, tokens: int, head_dim: int, fast_numbers: int) -> float:
    """Return the term in the bound, without its constant; raise ValueError for another M."""
    if not head_dim <= fast_numbers <= tokens * head_dim:
        raise FAST_NUMBERS.wrong(fast_numbers, f"is not from d = {head_dim} to N·d")
    return tokens**2 * head_dim**2 / fast_numbers
