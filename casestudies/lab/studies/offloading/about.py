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

HERE, ON_DEMAND, PREFETCH, LINK = "on the device", "on demand", "prefetch", "link alone"
WIDE = "on the device, float32 gradients"
HOST, BUCKETS = "optimizer on the host", "optimizer in buckets"
WINDOW, ON_DISK, CHUNKS = "layer window", "layer window, disk", "chunks"
FETCHED = "layers on demand"
GATHERED, STAGES = "sharded gathering", "stages in turn"
RANKS = 4  # that gather, or take turns
SPLIT_AMONG = (2, 4)  # ranks that share each matrix
NODE = 16 * 32  # GB of a DGX-2's GPUs together
BYTES_ON_A_RANK = 16  # of a parameter: the model twice in float32, a part of states, a gradient
CHUNKED = 4  # bytes of a parameter that the device has where states lie in chunks
LARGEST_HOST = 32  # memories of the device, as of a V100 of 32 GB in a host of one TB
# What a rule asks for: of shallower models a single block is no small part.
LEAST_DEEP, LEAST_LAYERS = 60, 12


class OffloadingParameters(Parameters):
    """What a reader may set."""

    prompt: int = parameter(
        32, "Tokens that are there at the beginning", unit="tokens", role="workload", ge=1, le=2048
    )
    sequences: int = parameter(
        4, "Sequences of a batch", unit="sequences", role="workload", ge=1, le=64
    )
    batches: int = parameter(
        8,
        "Most batches that one load of a block serves; from 1 on by twos",
        unit="batches",
        role="method",
        ge=1,
        le=32,
    )
    rate: float = parameter(
        2000, "Speed of the emulated link; a GPU has its own", unit="MB/s", role="workload",
        ge=50, le=100_000,
    )  # fmt: skip
    rounds: int = parameter(
        5, "Times that each step is measured", unit="rounds", role="effort", ge=2, le=100
    )
    deep: int = parameter(
        64, "Blocks of the deep model with random weights", unit="blocks", role="workload",
        ge=2, le=256,
    )  # fmt: skip
    layers: int = parameter(
        12, "Blocks of the model that is trained", unit="blocks", role="workload", ge=1, le=48
    )
    width: int = parameter(
        128, "Width of the deep and of the trained model", role="workload", ge=32, le=512,
        multiple_of=32,
    )  # fmt: skip
    bucket: int = parameter(
        65_536, "Parameters of a bucket", unit="parameters", role="method", ge=1024, le=2**24
    )
    memory: int = parameter(
        2048,
        "Memory of the device for which the largest model is sought",
        unit="KiB",
        role="workload",
        ge=256,
        le=16_384,
    )
    largest_host: int = parameter(
        LARGEST_HOST,
        "Largest memory of the host beside it, from 1 on by twos",
        unit="x the device",
        role="workload",
        ge=1,
        le=64,
    )


def _host_sizes(result: Result) -> list[int]:
    rows = (row for row in result.measurements if row.metric == "largest model")
    return sorted({int(row.settings["host"]) for row in rows})


def _larger(result: Result, variant: str, host: int) -> float:
    """Return how much larger a model the variant trains than with the optimizer on the host."""
    base = result.value("largest model", HOST, host=host)
    return result.value("largest model", variant, host=host) / base


def _shallow(result: Result) -> bool:
    return result.whole("layers") < LEAST_LAYERS


SHALLOW = not_run(
    f"a single block is no small part of this run’s model; the rule asks for at least"
    f" {LEAST_LAYERS} blocks here"
)


def streamed(result: Result) -> Judgement:
    """Claim 2 of DeepSpeed-Inference: a model 25 times as large as on the GPU alone."""
    blocks = result.whole("deep")
    if blocks < LEAST_DEEP:
        return not_run(f"the rule asks for a model of at least {LEAST_DEEP} blocks")
    apart = result.value("equality error", PREFETCH, blocks=blocks)
    fold = result.value("weights over device memory", PREFETCH, blocks=blocks)
    return judged(
        Number(f"weights of {blocks} blocks / peak device memory", fold, "x"),
        Number("largest difference of a logit", apart),
        agrees=apart < 1e-4 and fold >= 10,
    )


def chunked(result: Result) -> Judgement:
    """Claims 0 and 1 of PatrickStar: by the worst of all hosts, since no test setting is named."""
    found = {host: _larger(result, CHUNKS, host) for host in _host_sizes(result)}
    if not found or max(found) < LARGEST_HOST:
        return not_run(f"this run has no hosts of up to {LARGEST_HOST} times the device’s memory")
    numbers = (Number(f"chunks / optimizer on the host, host {h} x", f) for h, f in found.items())
    return judged(*numbers, agrees=min(found.values()) >= 1.2)


def windowed(result: Result) -> Judgement:
    """Claim 0 of STRONGHOLD: by the largest host, so that the device is what limits."""
    fold = _larger(result, WINDOW, LARGEST_HOST)
    return judged(
        Number(f"layer window / optimizer on the host, host {LARGEST_HOST} x", fold, "x"),
        agrees=fold >= 1.9,
    )


def window_speed(result: Result) -> Judgement:
    """Claim 1 of STRONGHOLD: training is faster with a window that is fetched ahead."""
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    if _shallow(result):
        return not_run("a run of few blocks times a small model, which only shows that it works")
    ahead, fetched = (
        result.value("training tokens per second", variant) for variant in (WINDOW, FETCHED)
    )
    number = Number("tokens per second, layer window / layers on demand", ahead / fetched, "x")
    return judged(number, agrees=ahead / fetched >= 1.2)


def trillion(result: Result) -> Judgement:
    """Claim 1 of ZeRO-Infinity: a trillion parameters on one node."""
    if _shallow(result):
        return SHALLOW
    grows = result.value("growth", ON_DISK)
    terabytes = result.value("host states", ON_DISK)  # of 1e12 parameters
    return judged(
        Number("growth of device memory, of a block’s weights", grows, "%"),
        Number("1e12 parameters on disk", terabytes, "TB"),
        agrees=grows < 5 and terabytes <= 28,
    )


def thirteen_billion(result: Result) -> Judgement:
    """Claim 0 of ZeRO-Offload: 13 billion parameters on one GPU."""
    if _shallow(result):
        return SHALLOW
    states = result.value("device states", HOST)
    fold = result.value("device states", HERE) / states
    return judged(
        Number("device states, on the device / optimizer on the host", fold, "x"),
        Number("13 billion parameters, optimizer on the host", 13 * states, "GB"),
        supported=states <= 2.4 and fold >= 7,
        agrees=fold >= 4,
    )


def bucketed(result: Result) -> Judgement:
    """Claim 1 of AxoNN: a quarter of the memory."""
    if _shallow(result):
        return SHALLOW
    fold = result.value("device states", WIDE) / result.value("device states", BUCKETS)
    number = Number("on the device / optimizer in buckets", fold, "x", claimed=True)
    return judged(number, supported=fold >= 4, agrees=fold >= 3)


def seventy_billion(result: Result) -> Judgement:
    """Claim 2 of ZeRO-Offload: 70 billion parameters on a DGX-2 with tensor parallelism."""
    if _shallow(result):
        return SHALLOW
    rows = (row for row in result.measurements if row.metric == "states saved")
    saved = {int(row.settings["ranks"]): row.value for row in rows if "ranks" in row.settings}
    if not saved:
        return not_run("two ranks cannot share this model’s heads")
    states = max(result.value("device states", HOST, ranks=ranks) for ranks in saved)
    return judged(
        *(
            Number(
                f"device states, tensor parallelism alone / with the host, {ranks} ranks", f, "x"
            )
            for ranks, f in saved.items()
        ),
        Number("70 billion parameters, optimizer on the host", 70 * states, "GB"),
        agrees=70 * states <= NODE and min(saved.values()) >= 4.5,
    )


def in_turn(result: Result, least: float) -> Judgement:
    """Return how much less stages in turn carry, and how much sooner their step ends."""

    def fold(metric: str) -> float:
        sharded, turns = (
            result.value(metric, variant, ranks=RANKS) for variant in (GATHERED, STAGES)
        )
        return sharded / turns

    carried, time = fold("carried by all"), fold("step, by replay")
    return judged(
        Number(f"bytes carried, gathered / in turn, {RANKS} ranks", carried, "x"),
        Number("modelled step time, gathered / in turn", time, "x"),
        agrees=carried >= 3 and time >= least,
    )


def most_in_turn(result: Result) -> Judgement:
    """Claim 0 of Mobius: at most 5.1 times as fast."""
    return in_turn(result, 2)


def least_in_turn(result: Result) -> Judgement:
    """Claim 1 of Mobius: at least 3.8 times as fast."""
    return in_turn(result, 1.5)


def needs(parameters: OffloadingParameters) -> Needs:
    """Return the bundled model's memory, and that of the trained one on all ranks."""
    trained = 12 * parameters.layers * parameters.width**2
    return Needs(memory_gib=4 + RANKS * BYTES_ON_A_RANK * trained / GIB)


BYTES_EACH = "byte/parameter"
ANSWERS = (
    Answer("aminabadi2022deepspeedinference-2", "b032209c4545", streamed),
    Answer("fang2021patrickstar-0", "38b3886913fc", chunked),
    Answer("fang2021patrickstar-1", "38b3886913fc", chunked),
    Answer("feng2023mobius-0", "8a9e7301be95", most_in_turn),
    Answer("feng2023mobius-1", "c198d3754c6d", least_in_turn),
    Answer("rajbhandari2021zeroinfinity-1", "7811f4a7a31b", trillion),
    Answer("ren2021zerooffload-0", "97d7840f6dc1", thirteen_billion),
    Answer("ren2021zerooffload-2", "c0f64826fbaf", seventy_billion),
    Answer("singh2021axonn-1", "0094a2a55e80", bucketed),
    Answer("sun2022stronghold-0", "0c57cd28abf4", windowed),
    Answer("sun2022stronghold-1", "226d8161bf46", window_speed),
)

STUDY = Study(
    slug="offloading",
    name="Offloading",
    subject="what the device holds when the rest waits on the host, and what carrying costs",
    summary=(
        "Continues texts with a language model whose blocks and caches lie on the host and come to"
        " the device just before they are needed, one load for several batches; checks that every"
        " logit is that of the model that stays on the device, and measures how much of the"
        " carrying hides behind computation. Then trains a small model with its optimizer, or"
        " everything, on the host in five ways, and counts what the device holds and what is"
        " carried; and trains it on several ranks, whose matrices are split, whose shares are"
        " gathered from the host, or who take turns with stages that come from there."
    ),
    limits=(
        "On a CPU host and device are both the machine’s memory, and the link between them is"
        " emulated: a thread copies, which takes a core’s time from computation, and waits as long"
        " as a link of the stated speed would take."
        " The device is a pool that is counted; what operations make is not in it. On a GPU the"
        " texts use the card’s own memory and link, and so does training with a window, which is"
        " timed there and nowhere else; nobody has tried either yet. All other training is counted"
        " on the CPU everywhere: how long a step of several ranks takes"
        " where the link decides is a replay. These devices have no link of their own, so what one"
        " sends to another goes over the host’s; with one, gathering would carry about what stages"
        " do. Compression and attention on the host are left out."
    ),
    publications=(
        "sheng2023flexgen",
        "ren2021zerooffload",
        "rajbhandari2021zeroinfinity",
        "sun2022stronghold",
        "fang2021patrickstar",
        "singh2021axonn",
        "aminabadi2022deepspeedinference",
        "feng2023mobius",
    ),
    strategies=("offloading", "heterogeneous-hardware"),
    parameters=OffloadingParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "prompt": 8,
                "sequences": 1,
                "batches": 1,
                "rate": 10_000,
                "rounds": 2,
                "deep": 8,
                "layers": 2,
                "width": 64,
                "memory": 384,
                "largest_host": 2,
            },
        ),
        QUICK: Preset(1.5, {"rounds": 2, "largest_host": 8}),
        CLAIMS: Preset(2, {"batches": 1, "rounds": 2}),
        FULL: Preset(5, {"prompt": 128, "batches": 16, "rounds": 15}),
    },
    variants=(
        Variant(HERE, "all weights, caches and states stay on the device", "baseline"),
        Variant(
            ON_DEMAND,
            "blocks and caches come when they are needed, and the device waits",
            "baseline",
        ),
        Variant(PREFETCH, "FlexGen’s block schedule: they come while the device computes"),
        Variant(LINK, "everything that a step reads is carried, and nothing computed", "control"),
        Variant(
            WIDE, "as early mixed precision did: 20 bytes a parameter instead of 16", "baseline"
        ),
        Variant(
            HOST,
            "ZeRO-Offload: weights stay, gradients leave as they come, the host computes Adam",
        ),
        Variant(
            BUCKETS,
            "AxoNN: weights and gradients stay, the states of Adam come bucket by bucket",
        ),
        Variant(WINDOW, "STRONGHOLD: two blocks’ weights at a time, the states all on the host"),
        Variant(ON_DISK, "the same with files instead of the host’s memory, as ZeRO-Infinity"),
        Variant(
            FETCHED,
            "a window of one block, which comes when it is needed; on a GPU only",
            "baseline",
        ),
        Variant(
            CHUNKS,
            "PatrickStar: weights and states lie where there is room, and gradients take the place"
            f" of weights; on a device of {CHUNKED} bytes a parameter, but for the largest model",
        ),
        Variant(
            GATHERED,
            "ZeRO’s third stage on the host: every rank gathers each block for its own sequences",
            "baseline",
        ),
        Variant(
            STAGES,
            "Mobius: a block’s weights come to one rank, through which all sequences go",
        ),
    ),
    settings=(
        Setting("batches", "batches that one load of a block serves", "batches", one="batch"),
        Setting("blocks", "blocks of a deep model with random weights", "blocks", one="block"),
        Setting("host", "the host’s memory, divided by the device’s", "x the device"),
        Setting("ranks", "ranks that train together, each with a device", "ranks", one="rank"),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit from that with all on the device; of that, and for the"
            " deep model, from that of the model as it is with a cache of its own"
        ),
        Metric(
            "device memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "most bytes of weights, keys and values that the device held; on a GPU and for the deep"
            " model with what operations made",
        ),
        Metric(
            "weights over device memory",
            "x",
            HIGHER,
            "model-size",
            "counted",
            "bytes of all weights divided by the most bytes that the device held, operations too",
            "device memory",
        ),
        Metric(
            "carried for a token",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes between host and device, of all batches and steps, divided by the tokens chosen",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a step that reads one token of each sequence, alternating, median"
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "sequences of all batches divided by the time of a step, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "time of a step on demand divided by the variant’s, alternating, median of rounds",
            relative_to="on demand",
        ),
        Metric(
            "time hidden",
            "fraction",
            HIGHER,
            "throughput",
            "timed",
            "time of a step on the device and of carrying alone, less that of the step with"
            " prefetch, divided by the shorter of the two: 1 is the longer of them, 0 their sum",
        ),
        Metric(
            "device states",
            BYTES_EACH,
            LOWER,
            "memory",
            "counted",
            "most bytes of weights, gradients and optimizer on the device at one time, divided by"
            " the parameters, on ranks by the rank’s own; activations are left out",
        ),
        Metric(
            "host states",
            BYTES_EACH,
            LOWER,
            "memory",
            "counted",
            "the same on the host or disk, with the inputs of blocks where they wait there",
        ),
        Metric(
            "carried in a step",
            BYTES_EACH,
            LOWER,
            "communication",
            "counted",
            "bytes between device and host in a step, divided by the parameters",
        ),
        Metric(
            "states saved",
            "x",
            HIGHER,
            "memory",
            "counted",
            "device states with all on the device, divided by the variant’s; for buckets, those"
            " with float32 gradients",
            "on the device",
        ),
        Metric(
            "weight difference",
            "",
            LOWER,
            "quality",
            "computed",
            "largest difference of a weight from that of training on the device; for split"
            " matrices on as many ranks, for gathering and stages in one process. Adam moves a"
            " weight by the rate however small its gradient is, so rounding shows; of layers on"
            " demand, from that of the window, on a GPU",
        ),
        Metric(
            "training tokens per second",
            "token/s",
            HIGHER,
            "throughput",
            "timed",
            "tokens of a step divided by its wall clock, the step of Adam on the host included, in"
            " the device’s memory that the window takes; 8 blocks, 1,536 wide, or the run’s own"
            f" model if that has fewer than {LEAST_LAYERS}; alternating, median of rounds; needs a"
            " GPU",
        ),
        Metric(
            "carried by all",
            BYTES_EACH,
            LOWER,
            "communication",
            "counted",
            "bytes of a step between all devices and the host or each other, activations and"
            " gradients too, divided by the parameters",
        ),
        Metric(
            "step, by replay",
            "x a block’s load",
            LOWER,
            "throughput",
            "counted",
            "time of a step where all devices share one link, in times that one block’s weights"
            " take over it; a block computes a micro-batch forward in a tenth of that, backward in"
            " three tenths; activations and the ends are left out: a model, not a measurement. As"
            " long as the link decides the ratio is nearly the number of ranks",
        ),
        Metric(
            "growth",
            "%",
            LOWER,
            "scale",
            "counted",
            "bytes that one more block adds to the most on the device, of its weights’ bytes",
        ),
        Metric(
            "largest model",
            "million parameters",
            HIGHER,
            "scale",
            "counted",
            "parameters of the deepest model that takes its steps within the device’s and the"
            " host’s memory, activations left out",
        ),
    ),
    series=(
        Series("tokens per second by batches", "batches", "batches", "tokens per second"),
        Series("largest model by host memory", "host memory", "x the device", "largest model"),
    ),
    headline=(
        Headline("equality error", PREFETCH),
        Headline("device memory", PREFETCH),
        Headline("device states", HOST),
    ),
    charts=(
        StudyChart(
            "curves",
            "With one batch a step waits for the link, whatever is done. The more batches one load"
            " of a block serves, the nearer prefetching comes to the model on the device.",
            series="tokens per second by batches",
        ),
        StudyChart(
            "trade",
            "What the device no longer holds has to be carried: towards the left less is held,"
            " towards the bottom less goes over the link.",
            x="device states",
            y="carried in a step",
        ),
        StudyChart(
            "curves",
            "With the optimizer on the host one memory is full while the other has room: the host"
            " at the left, the device at the right. Chunks use both; a window leaves the device"
            " nothing to limit.",
            series="largest model by host memory",
        ),
    ),
    answers=ANSWERS,
    accepts=("model", "text"),
    needs=needs,
    gpu_only=frozenset({FETCHED, "training tokens per second"}),
)
