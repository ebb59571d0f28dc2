"""How many parameters a model has, and an adapter adds."""

from casestudies.lab.equations.equation import (
    COUNT,
    HEAD_WIDTH,
    HEADS,
    KV_HEADS,
    LAYERS,
    TOKENS,
    VOCABULARY,
    WIDTH,
    Source,
    Symbol,
    equation,
    one_of,
)

FFN = Symbol("f", "ffn", "width between the matrices of the feed-forward part", "numbers")
EMBEDDINGS = Symbol(
    "u",
    "embedding_matrices",
    "matrices of the vocabulary: 1 where input and output share one, else 2",
    "matrices",
    one_of(1, 2),
)
QKV_BIAS = Symbol(
    "q", "qkv_bias", "1 where queries, keys and values have a bias, else 0", "", one_of(0, 1)
)
RANK = Symbol("r", "rank", "rank of the adapter", "numbers")
D_IN = Symbol("d_in", "inputs", "inputs of the adapted matrix", "numbers")
D_OUT = Symbol("d_out", "outputs", "outputs of the adapted matrix", "numbers")
MATRICES = Symbol("n", "matrices", "adapted matrices of that shape", "matrices", COUNT)


@equation(
    "Parameters of the layers of a transformer",
    "12·L·h²",
    "parameters",
    LAYERS,
    WIDTH,
    holds="Matrices of the layers of a GPT: four of attention and two of a feed-forward part four"
    " times as wide as the model.",
    fails="Leaves out embeddings, biases and norms, so it is too low for small models; not for"
    " gated feed-forward parts, grouped heads or experts.",
    sources=(
        Source(publication="rajbhandari2021zeroinfinity", place="equation 1", from_memory=True),
    ),
)
def block_parameters(*, layers: int, hidden: int) -> float:
    """Return the parameters of all layers together, without embeddings."""
    return 12 * layers * hidden**2


@equation(
    "Parameters of a GPT",
    "12·L·h²·(1 + 13/(12·h) + (V + s)/(12·L·h))",
    "parameters",
    LAYERS,
    WIDTH,
    VOCABULARY,
    TOKENS,
    holds="GPT-2, GPT-3 and Megatron's GPT: biases, layer norms, learned positions, one matrix for"
    " the vocabulary. Leaves out the last norm, 2·h, and OPT's two more positions, 2·h.",
    fails="Not for Llama-style models (gated feed-forward part, no biases, rotary positions),"
    " grouped heads or experts.",
    sources=(Source(publication="narayanan2021ptdp", place="equation 2"),),
)
def gpt_parameters(*, layers: int, hidden: int, vocabulary: int, tokens: int) -> float:
    """Return the parameters of a model whose longest sequence has `tokens` tokens."""
    layer = 12 * hidden**2 + 13 * hidden
    return layers * layer + (vocabulary + tokens) * hidden


@equation(
    "Parameters of a Llama-style decoder",
    "u·V·h + L·(2·h·a·d + 2·h·k·d + 3·h·f + 2·h + q·(a + 2·k)·d) + h",
    "parameters",
    LAYERS,
    WIDTH,
    HEADS,
    KV_HEADS,
    HEAD_WIDTH,
    FFN,
    VOCABULARY,
    EMBEDDINGS,
    QKV_BIAS,
    holds="To the last parameter for Llama, Mistral, SmolLM2 and, with q = 1, Qwen2.5: gated"
    " feed-forward part, RMSNorm, rotary positions.",
    fails="Not for models with two feed-forward matrices, learned positions or layer norms with"
    " biases (GPT, OPT, BLOOM), nor for latent attention. With experts, add those that"
    " the equations on experts count.",
    sources=(
        Source(
            reference="the shapes in the models' own configurations; Touvron et al. 2023, LLaMA"
            " (arXiv 2302.13971)",
            place="table 2 and section 2.2; counted, not printed there",
            from_memory=True,
        ),
    ),
)
def decoder_parameters(
    *,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    ffn: int,
    vocabulary: int,
    embedding_matrices: int,
    qkv_bias: int = 0,
) -> float:
    """Return all parameters of the model, embeddings and norms included."""
    attention = 2 * hidden * head_dim * (heads + kv_heads)
    biases = qkv_bias * (heads + 2 * kv_heads) * head_dim
    layer = attention + 3 * hidden * ffn + 2 * hidden + biases
    return embedding_matrices * vocabulary * hidden + layers * layer + hidden


@equation(
    "Parameters that LoRA trains",
    "n·r·(d_in + d_out)",
    "parameters",
    MATRICES,
    RANK,
    D_IN,
    D_OUT,
    holds="Matrices W (d_out by d_in) that an adapter B·A changes, A r by d_in, B d_out by r.",
    fails="Leaves out biases, norms and heads that are trained as well.",
    sources=(Source(publication="hu2021lora", place="sections 4.1 and 5.1, appendix D"),),
)
def lora_parameters(*, matrices: int, rank: int, inputs: int, outputs: int) -> float:
    """Return the parameters of all adapters together."""
    return matrices * rank * (inputs + outputs)


@equation(
    "Operations to merge an adapter",
    "2·r·d_in·d_out",
    "operations",
    RANK,
    D_IN,
    D_OUT,
    holds="W + B·A, once for each matrix, with the scale alpha/r already in B. The merged model"
    " then costs what the unchanged one does.",
    fails="One adapter a model: where several are served at one time, they are not merged. Merging"
    " into quantized weights changes them by rounding.",
    sources=(
        Source(
            publication="hu2021lora",
            place="section 4.1, no additional inference latency; counted, not printed there",
            from_memory=True,
        ),
    ),
)
def lora_merge_operations(*, rank: int, inputs: int, outputs: int) -> float:
    """Return the multiplications and additions of the product and the sum."""
    return 2 * rank * inputs * outputs
