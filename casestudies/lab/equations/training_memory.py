"""Bytes that weights, gradients and optimizer take in training, whole and shared (ZeRO)."""

from casestudies.lab.equations.equation import (
    NOT_NEGATIVE,
    PARAMETERS,
    POSITIVE,
    RANKS,
    Source,
    Symbol,
    equation,
    one_of,
)

STATE_BYTES = Symbol(
    "c", "state_bytes", "bytes of weight, gradient and optimizer of a parameter", "byte", POSITIVE
)
STAGE = Symbol(
    "z",
    "stage",
    "stage of ZeRO: 1 shares the optimizer, 2 gradients too, 3 weights too",
    "",
    one_of(0, 1, 2, 3),
)
WEIGHT = Symbol("w", "weight_bytes", "bytes of a weight", "byte", POSITIVE)
GRADIENT = Symbol("g", "gradient_bytes", "bytes of a gradient", "byte", NOT_NEGATIVE)
OPTIMIZER = Symbol(
    "K", "optimizer_bytes", "bytes that the optimizer keeps for a parameter", "byte", NOT_NEGATIVE
)
SHARED = Symbol(
    "c", "state_bytes", "bytes of a parameter that stay on the device", "byte", POSITIVE
)
LARGEST_LAYER = Symbol(
    "l", "largest_layer", "parameters of the largest layer", "parameters", POSITIVE
)
GPUS = Symbol("n", "devices", "GPUs of the host", "devices")
BUFFER = Symbol("f", "buffer_factor", "factor for buffers", "x", POSITIVE)

ZERO = "rajbhandari2019zero"
ADAM = (
    "Adam in mixed precision: 16 (ZeRO: weight 2, gradient 2, and 12 of 32-bit weight, momentum and"
    " variance), 18 with a gradient of 4 (Megatron), 20 with one of 2 and one of 4"
    " (ZeRO-Infinity)."
)
NO_ACTIVATIONS = "Leaves out activations, buffers, fragments and what the framework itself takes."
DEEPSPEED = "DeepSpeed documentation"


@equation(
    "Model states",
    "c·P",
    "byte",
    STATE_BYTES,
    PARAMETERS,
    holds=ADAM,
    fails=NO_ACTIVATIONS + " Frozen parameters have neither gradient nor optimizer.",
    sources=(
        Source(publication=ZERO, place="section 3.1: 16 bytes"),
        Source(publication="korthikanti2022reducing", place="figure 1: 18 bytes"),
        Source(
            publication="rajbhandari2021zeroinfinity",
            place="section 3, figure 2a: 20 bytes",
            from_memory=True,
        ),
    ),
)
def model_state_bytes(*, state_bytes: float, parameters: float) -> float:
    """Return the bytes of weights, gradients and optimizer on one device that holds them all."""
    return state_bytes * parameters


@equation(
    "Model states under ZeRO",
    "P·(w + g + K/N) for z = 1, P·(w + (g + K)/N) for 2, P·(w + g + K)/N for 3",
    "byte",
    PARAMETERS,
    RANKS,
    STAGE,
    WEIGHT,
    GRADIENT,
    OPTIMIZER,
    holds="What is shared is shared evenly; stage 0 shares nothing. With w = 2, g = 2, K = 12"
    " stages 1, 2, 3 are 4·P + 12·P/N, 2·P + 14·P/N and 16·P/N.",
    fails=NO_ACTIVATIONS + " Stage 3 also holds the layers that it has gathered.",
    sources=(Source(publication=ZERO, place="section 5, figure 1, table 1"),),
)
def zero_state_bytes(
    *,
    parameters: float,
    ranks: int,
    stage: int,
    weight_bytes: float = 2,
    gradient_bytes: float = 2,
    optimizer_bytes: float = 12,
) -> float:
    """Return the bytes of weights, gradients and optimizer on one rank."""
    weights = weight_bytes / (ranks if stage == 3 else 1)
    gradients = gradient_bytes / (ranks if stage >= 2 else 1)
    optimizer = optimizer_bytes / (ranks if stage >= 1 else 1)
    return parameters * (weights + gradients + optimizer)


@equation(
    "Model states under ZeRO-3, with the gathered layer",
    "4·l + c·P/N",
    "byte",
    LARGEST_LAYER,
    SHARED,
    PARAMETERS,
    RANKS,
    holds="DeepSpeed's estimate: weight and gradient of the largest layer whole, 2 bytes each; c"
    " is 18, or 2 with the optimizer on the host.",
    fails="Prefetching holds more layers than one. " + NO_ACTIVATIONS,
    sources=(Source(reference=DEEPSPEED, place="memory.rst, ZeRO-3"),),
)
def zero3_device_bytes(
    *, largest_layer: float, state_bytes: float, parameters: float, ranks: int
) -> float:
    """Return the bytes of the model's states on one device."""
    return 4 * largest_layer + state_bytes * parameters / ranks


@equation(
    "Host memory of ZeRO-3 with the optimizer offloaded",
    "P·max(4·n, 16)·f",
    "byte",
    PARAMETERS,
    GPUS,
    BUFFER,
    holds="DeepSpeed's estimate for one host, where each process first makes the whole model"
    " (zero_init off): f is 1.5.",
    fails="Not where the model is made in shares from the start.",
    sources=(Source(reference=DEEPSPEED, place="memory.rst, ZeRO-3, zero_init=0"),),
)
def zero3_host_bytes(*, parameters: float, devices: int, buffer_factor: float = 1.5) -> float:
    """Return the bytes that the host needs for all its processes."""
    return parameters * max(4 * devices, 16) * buffer_factor
