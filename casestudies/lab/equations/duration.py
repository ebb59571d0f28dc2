"""How long a step takes at least, also from slower memory, and how often to save."""

import math

from casestudies.lab.equations.equation import (
    BATCH,
    COUNT,
    DEVICES,
    NOT_NEGATIVE,
    POSITIVE,
    Source,
    Symbol,
    equation,
)

READ = Symbol("Q", "read_bytes", "bytes that are read", "byte", POSITIVE)
BANDWIDTH = Symbol("β", "bandwidth", "memory bandwidth of a device", "byte/s", POSITIVE)
PEAK = Symbol("π", "peak_rate", "peak rate of a device", "operation/s", POSITIVE)
INTENSITY = Symbol("I", "intensity", "operations for each byte read", "operation/byte", POSITIVE)
WEIGHTS = Symbol("W", "weight_bytes", "bytes of the weights that the step reads", "byte", POSITIVE)
CACHE = Symbol("C", "cache_bytes", "bytes of all sequences' keys and values", "byte", NOT_NEGATIVE)
ACTIVE = Symbol("P", "parameters", "parameters that a token reads", "parameters", POSITIVE)
SEEN = Symbol("D", "tokens", "tokens of all prompts together", "tokens")
CPU_TO_GPU = Symbol("ctog", "to_gpu", "time from host to GPU", "s", NOT_NEGATIVE)
GPU_TO_CPU = Symbol("gtoc", "from_gpu", "time from GPU to host", "s", NOT_NEGATIVE)
DISK_TO_CPU = Symbol("dtoc", "from_disk", "time from disk to host", "s", NOT_NEGATIVE)
CPU_TO_DISK = Symbol("ctod", "to_disk", "time from host to disk", "s", NOT_NEGATIVE)
COMPUTE = Symbol("comp", "compute", "time of computing", "s", NOT_NEGATIVE)
PREFILL = Symbol("T_pre", "prefill_seconds", "time of a layer in prefill", "s", NOT_NEGATIVE)
DECODE = Symbol("T_gen", "decode_seconds", "time of a layer in decoding a token", "s", NOT_NEGATIVE)
LAYERS = Symbol("l", "layers", "layers", "layers")
GENERATED = Symbol("n", "generated", "tokens of each answer", "tokens", COUNT)
SAVE = Symbol("δ", "save_seconds", "time to write a checkpoint", "s", POSITIVE)
FAILURE = Symbol("M", "failure_seconds", "mean time between failures of all devices", "s", POSITIVE)
INTERVAL = Symbol("τ", "interval_seconds", "time of work between two checkpoints", "s", POSITIVE)
RESTART = Symbol("R", "restart_seconds", "time to start again", "s", NOT_NEGATIVE)
WORK = Symbol("T_s", "work_seconds", "time of the work without failures or saving", "s", POSITIVE)

ROOFLINE = Source(
    reference="Williams, Waterman and Patterson 2009, Roofline (doi 10.1145/1498765.1498785)",
    place="the roofline formula",
    from_memory=True,
)
KIPPLY = "kipply 2022, Transformer Inference Arithmetic"
POPE = Source(publication="pope2022efficiently", place="section 2", from_memory=True)
BOUND = "A lower bound: peak rates that nothing attains, no overhead, no messages between devices."
FLEXGEN = Source(publication="sheng2023flexgen", place="section 4.3")
DALY = (
    "Daly 2006, A higher order estimate of the optimum checkpoint interval for restart dumps"
    " (doi 10.1016/j.future.2004.11.016)"
)
FAILURES = "Failures come independently at a constant rate, and also while saving or starting."


@equation(
    "Time to read from memory",
    "Q/(n·β)",
    "s",
    READ,
    DEVICES,
    BANDWIDTH,
    holds="Bytes spread evenly over n devices and read once. For a decoding step, the weights and"
    " all keys and values.",
    fails=BOUND + " 0.6 to 0.85 of the datasheet's bandwidth is usual.",
    sources=(Source(reference=KIPPLY, place="latency calculations", from_memory=True), POPE),
)
def read_seconds(*, read_bytes: float, devices: int, bandwidth: float) -> float:
    """Return the least time in which the devices read the bytes."""
    return read_bytes / (devices * bandwidth)


@equation(
    "Time of a prefill",
    "2·P·D/(n·π)",
    "s",
    ACTIVE,
    SEEN,
    DEVICES,
    PEAK,
    holds="Prompts long enough that arithmetic and not memory decides: see the ridge.",
    fails=BOUND + " Leaves out the attention over earlier tokens.",
    sources=(Source(reference=KIPPLY, place="latency calculations", from_memory=True), POPE),
)
def prefill_seconds(*, parameters: float, tokens: int, devices: int, peak_rate: float) -> float:
    """Return the least time until the prompts have passed through the model."""
    return 2 * parameters * tokens / (devices * peak_rate)


@equation(
    "Time of a decoding step",
    "max((W + C)/(n·β), 2·P·b/(n·π))",
    "s",
    WEIGHTS,
    CACHE,
    ACTIVE,
    BATCH,
    DEVICES,
    BANDWIDTH,
    PEAK,
    holds="One token of each sequence; reading and computing overlap.",
    fails=BOUND + " With experts, W is what the whole batch reads and P what one token does.",
    sources=(Source(reference=KIPPLY, place="latency calculations", from_memory=True), POPE),
)
def decode_seconds(
    *,
    weight_bytes: float,
    cache_bytes: float,
    parameters: float,
    batch: int,
    devices: int,
    bandwidth: float,
    peak_rate: float,
) -> float:
    """Return the least time in which each sequence gets one more token."""
    memory = read_seconds(
        read_bytes=weight_bytes + cache_bytes, devices=devices, bandwidth=bandwidth
    )
    arithmetic = 2 * parameters * batch / (devices * peak_rate)
    return max(memory, arithmetic)


@equation(
    "Rate that a kernel can attain",
    "min(π, I·β)",
    "operation/s",
    PEAK,
    INTENSITY,
    BANDWIDTH,
    holds="A kernel that overlaps reading and computing.",
    fails="Caches, latency and too little parallelism keep most kernels below it.",
    sources=(ROOFLINE,),
)
def attainable_rate(*, peak_rate: float, intensity: float, bandwidth: float) -> float:
    """Return the greatest rate that memory and arithmetic allow."""
    return min(peak_rate, intensity * bandwidth)


@equation(
    "Ridge",
    "π/β",
    "operation/byte",
    PEAK,
    BANDWIDTH,
    holds="Below it memory decides, above it arithmetic. With 16-bit weights it is also the batch"
    " at which a decoding step no longer waits for the weights.",
    fails="With keys and values to read, a decoding step may wait for memory at any batch.",
    sources=(ROOFLINE,),
)
def ridge(*, peak_rate: float, bandwidth: float) -> float:
    """Return the operations for each byte at which both take equally long."""
    return peak_rate / bandwidth


@equation(
    "Time of a layer with offloading",
    "max(ctog, gtoc, dtoc, ctod, comp)",
    "s",
    CPU_TO_GPU,
    GPU_TO_CPU,
    DISK_TO_CPU,
    CPU_TO_DISK,
    COMPUTE,
    holds="Reading, writing and computing overlap perfectly, as FlexGen's block schedule tries to.",
    fails="Without overlap it is their sum; links that share a bus slow one another.",
    sources=(FLEXGEN,),
)
def offloaded_layer_seconds(
    *, to_gpu: float, from_gpu: float, from_disk: float, to_disk: float, compute: float
) -> float:
    """Return the time of one layer and one block of batches, in prefill or decoding."""
    return max(to_gpu, from_gpu, from_disk, to_disk, compute)


@equation(
    "Time of a block with offloading",
    "T_pre·l + T_gen·(n - 1)·l",
    "s",
    PREFILL,
    DECODE,
    LAYERS,
    GENERATED,
    holds="A block of batches: prefill gives the first token, n - 1 decoding steps the others."
    " T_gen is a mean, since the cache grows.",
    fails="Leaves out embedding and the scores of the vocabulary.",
    sources=(FLEXGEN,),
)
def offloaded_block_seconds(
    *, prefill_seconds: float, decode_seconds: float, layers: int, generated: int
) -> float:
    """Return the time until every sequence of the block has its answer."""
    return layers * (prefill_seconds + decode_seconds * (generated - 1))


@equation(
    "Checkpoint interval, first order",
    "√(2·δ·M)",
    "s",
    SAVE,
    FAILURE,
    holds=FAILURES + " Saving is short beside the time between failures.",
    fails="Too long where δ comes near M; saving in the background costs less than δ.",
    sources=(
        Source(
            reference="Young 1974, A first order approximation to the optimum checkpoint interval"
            " (doi 10.1145/361147.361115)",
            place="the approximation",
            from_memory=True,
        ),
    ),
)
def young_interval(*, save_seconds: float, failure_seconds: float) -> float:
    """Return the time of work between two checkpoints that wastes least."""
    return math.sqrt(2 * save_seconds * failure_seconds)


@equation(
    "Checkpoint interval, higher order",
    "√(2·δ·M)·(1 + √(δ/(2·M))/3 + δ/(2·M)/9) - δ for δ < 2·M, else M",
    "s",
    SAVE,
    FAILURE,
    holds=FAILURES,
    fails="Saving in the background costs less than δ.",
    sources=(Source(reference=DALY, place="equation 37", from_memory=True),),
)
def daly_interval(*, save_seconds: float, failure_seconds: float) -> float:
    """Return the time of work between two checkpoints that wastes least."""
    if save_seconds >= 2 * failure_seconds:
        return failure_seconds
    share = save_seconds / (2 * failure_seconds)
    first = math.sqrt(2 * save_seconds * failure_seconds)
    return first * (1 + math.sqrt(share) / 3 + share / 9) - save_seconds


@equation(
    "Time of work with failures and checkpoints",
    "M·e^(R/M)·(e^((τ+δ)/M) - 1)·T_s/τ",
    "s",
    FAILURE,
    RESTART,
    INTERVAL,
    SAVE,
    WORK,
    holds=FAILURES + " Work of at least one interval.",
    fails="An expectation: a single run differs. Infinite where an interval hardly ever succeeds.",
    sources=(Source(reference=DALY, place="the complete model, equation 20", from_memory=True),),
)
def expected_seconds(
    *,
    failure_seconds: float,
    restart_seconds: float,
    interval_seconds: float,
    save_seconds: float,
    work_seconds: float,
) -> float:
    """Return the expected time from start to end, failures, restarts and saving included."""
    try:
        attempt = math.expm1((interval_seconds + save_seconds) / failure_seconds)
        restart = math.exp(restart_seconds / failure_seconds)
    except OverflowError:
        return math.inf
    return failure_seconds * restart * attempt * work_seconds / interval_seconds
