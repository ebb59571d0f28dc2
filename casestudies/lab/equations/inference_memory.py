"""Bytes of weights, quantized or not, and of the keys and values of earlier tokens."""

from casestudies.lab.equations.equation import (
    COUNT_OR_NONE,
    HEAD_WIDTH,
    KV_HEADS,
    LAYERS,
    NOT_NEGATIVE,
    NUMBER_BYTES,
    PARAMETERS,
    POSITIVE,
    TOKENS,
    Source,
    Symbol,
    equation,
)

BITS = Symbol("q", "bits", "bits of a weight, with its share of constants", "bit", POSITIVE)
CODE_BITS = Symbol("q", "bits", "bits of a weight's code", "bit", POSITIVE)
GROUP = Symbol("g", "group", "weights that share a scale", "weights")
SCALE_BITS = Symbol("c_s", "scale_bits", "bits of a scale", "bit", NOT_NEGATIVE)
ZERO_BITS = Symbol("c_z", "zero_bits", "bits of a zero point", "bit", NOT_NEGATIVE)
FIRST_BITS = Symbol("c_1", "scale_bits", "bits of a quantized scale", "bit", POSITIVE)
SECOND_BITS = Symbol("c_2", "second_scale_bits", "bits of the scale of scales", "bit", POSITIVE)
SECOND_GROUP = Symbol("G", "second_group", "scales that share a scale", "scales")
SEQUENCES = Symbol("b", "sequences", "sequences at one time", "sequences")
HELD = Symbol("s", "tokens", "tokens of a sequence, prompt and answer", "tokens")
WINDOW = Symbol(
    "w", "window", "tokens that stay in the cache; None for all", "tokens", COUNT_OR_NONE
)
TOKEN_BYTES = Symbol("c", "token_bytes", "bytes of keys and values of a token", "byte", POSITIVE)
MEMORY = Symbol("M", "memory_bytes", "memory that is left for the cache", "byte", POSITIVE)
BLOCK = Symbol("B", "block", "tokens that a block has places for", "tokens")
MODEL_WIDTH = Symbol("h1", "hidden", "width of the model", "numbers")
FFN_WIDTH = Symbol("h2", "ffn", "width of the feed-forward part", "numbers")
FLEXGEN_LAYERS = Symbol("l", "layers", "layers", "layers")

VLLM = "kwon2023vllm"


@equation(
    "Weights",
    "P·q/8",
    "byte",
    PARAMETERS,
    BITS,
    holds="All parameters in one precision; 16 bits unless quantized.",
    fails="Embeddings, norms and heads are often left in 16 bits: count them apart. A model with"
    " experts holds all of them.",
    sources=(Source(publication=VLLM, place="table 1"),),
)
def weight_bytes(*, parameters: float, bits: float = 16) -> float:
    """Return the bytes of the weights."""
    return parameters * bits / 8


@equation(
    "Bits of a weight that is quantized in groups",
    "q + (c_s + c_z)/g",
    "bit",
    CODE_BITS,
    GROUP,
    SCALE_BITS,
    ZERO_BITS,
    holds="One scale and, where rounding is asymmetric, one zero point for each g weights.",
    fails="Leaves out padding, permutations and layers that stay as they were. One scale for a row"
    " or a matrix: g is its length.",
    sources=(Source(publication="frantar2022gptq", place="section 4, group sizes 1024 and 128"),),
)
def quantized_bits(
    *, bits: float, group: int, scale_bits: float = 16, zero_bits: float = 0
) -> float:
    """Return the bits of a weight with its share of the group's constants."""
    return bits + (scale_bits + zero_bits) / group


@equation(
    "Bits of a weight's constants, double quantization",
    "c_1/g + c_2/(g·G)",
    "bit",
    FIRST_BITS,
    SECOND_BITS,
    GROUP,
    SECOND_GROUP,
    holds="Scales of groups are quantized themselves, in groups: QLoRA takes 8 bits in groups of"
    " 256 for scales of groups of 64.",
    fails="The mean of the scales, subtracted once a matrix, is left out.",
    sources=(Source(publication="dettmers2023qlora", place="section 3"),),
)
def double_quantization_bits(
    *,
    scale_bits: float = 8,
    second_scale_bits: float = 32,
    group: int = 64,
    second_group: int = 256,
) -> float:
    """Return the bits that the constants add to each weight."""
    return scale_bits / group + second_scale_bits / (group * second_group)


@equation(
    "Keys and values of a token",
    "2·L·k·d·e",
    "byte",
    LAYERS,
    KV_HEADS,
    HEAD_WIDTH,
    NUMBER_BYTES,
    holds="Every layer keeps a key and a value for each of its k heads: all heads, grouped heads"
    " (k below a) or one (k = 1).",
    fails="Not for latent attention, state spaces, or layers that share keys: these have rules of"
    " their own. Layers of several kinds: add them up.",
    sources=(
        Source(publication=VLLM, place="section 3"),
        Source(publication="ainslie2023gqa", place="section 2.2", from_memory=True),
    ),
)
def kv_bytes_per_token(
    *, layers: int, kv_heads: int, head_dim: int, number_bytes: float = 2
) -> float:
    """Return the bytes that one more token of one sequence adds to the cache."""
    return 2 * layers * kv_heads * head_dim * number_bytes


@equation(
    "Keys and values of all sequences",
    "2·L·k·d·e·b·min(s, w)",
    "byte",
    LAYERS,
    KV_HEADS,
    HEAD_WIDTH,
    NUMBER_BYTES,
    SEQUENCES,
    HELD,
    WINDOW,
    holds="Sequences of one length in every layer; a window w holds the last tokens, sinks"
    " included.",
    fails="Leaves out what paging or reserving wastes, and prefixes that are shared. Layers of"
    " several kinds: add them up.",
    sources=(
        Source(publication="sheng2023flexgen", place="section 3"),
        Source(publication="xiao2023streamingllm", place="section 3.2", from_memory=True),
    ),
)
def kv_cache_bytes(
    *,
    layers: int,
    kv_heads: int,
    head_dim: int,
    sequences: int,
    tokens: int,
    number_bytes: float = 2,
    window: int | None = None,
) -> float:
    """Return the bytes of the cache when every sequence has reached its length."""
    token = kv_bytes_per_token(
        layers=layers, kv_heads=kv_heads, head_dim=head_dim, number_bytes=number_bytes
    )
    return token * sequences * (tokens if window is None else min(tokens, window))


@equation(
    "Tokens that fit into the cache",
    "M/c",
    "tokens",
    MEMORY,
    TOKEN_BYTES,
    holds="Places of one size, none wasted.",
    fails="Reserving the longest length for each sequence wastes most of it.",
    sources=(Source(publication=VLLM, place="table 1"),),
)
def cache_capacity(*, memory_bytes: float, token_bytes: float) -> float:
    """Return the tokens of all sequences together that the memory holds."""
    return memory_bytes / token_bytes


@equation(
    "Places for tokens in a paged cache",
    "B·⌈s/B⌉",
    "tokens",
    TOKENS,
    BLOCK,
    holds="One sequence in blocks of its own: it wastes fewer places than a block has.",
    fails="Blocks that sequences share are counted once each.",
    sources=(Source(publication=VLLM, place="section 4.2", from_memory=True),),
)
def paged_slots(*, tokens: int, block: int) -> float:
    """Return the places that the blocks of one sequence have, filled or not."""
    return block * -(-tokens // block)


@equation(
    "Weights of the layers of OPT",
    "l·(8·h1² + 4·h1·h2)",
    "byte",
    FLEXGEN_LAYERS,
    MODEL_WIDTH,
    FFN_WIDTH,
    holds="16-bit weights: four matrices of attention, two of the feed-forward part.",
    fails="Leaves out embeddings, biases and norms; not for gated feed-forward parts.",
    sources=(Source(publication="sheng2023flexgen", place="section 3"),),
)
def opt_weight_bytes(*, layers: int, hidden: int, ffn: int) -> float:
    """Return the bytes of the weights of all layers."""
    return layers * (8 * hidden**2 + 4 * hidden * ffn)
