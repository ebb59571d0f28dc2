"""The vocabulary of metrics, so that what studies share has one name, unit and direction.

A study says how it measures one with `PERPLEXITY.measured("...")`, and makes a `Metric` of its own
only where nothing here says the same.
"""

from dataclasses import dataclass, replace
from typing import Literal

Better = Literal["lower is better", "higher is better", "neither"]
# Those of the taxonomy, in its words.
Objective = Literal[
    "throughput",
    "latency",
    "memory",
    "model-size",
    "quality",
    "cost",
    "scale",
    "communication",
    "reliability",
]
# Counted: exact on any machine, so that it may be asserted. Computed: the same on any machine but
# for rounding and for what a seed decides. Timed: of this machine, at this moment.
Evidence = Literal["counted", "computed", "timed"]


@dataclass(frozen=True)
class Metric:
    """One measured quantity. `how` says how it is measured; `relative_to` what a ratio divides by.

    `objective` is None for what describes a run and is no goal of it.
    """

    name: str
    unit: str
    direction: Better
    objective: Objective | None
    evidence: Evidence
    how: str
    relative_to: str = ""

    def measured(self, how: str, relative_to: str = "") -> "Metric":
        """Return the metric with a study's own words on how it measures it."""
        return replace(self, how=how, relative_to=relative_to or self.relative_to)

    @property
    def unit_in_words(self) -> str:
        """Return the unit for the label of an axis or a column: "x dense" for a ratio to dense."""
        return f"{self.unit} {self.relative_to}".strip()


LOWER: Better = "lower is better"
HIGHER: Better = "higher is better"
NEITHER: Better = "neither"

# Quality
PERPLEXITY = Metric(
    "perplexity",
    "",
    LOWER,
    "quality",
    "computed",
    "exp of the mean negative log-likelihood of the tokens of text kept apart",
)
PERPLEXITY_RATIO = Metric(
    "perplexity ratio",
    "x",
    LOWER,
    "quality",
    "computed",
    "perplexity divided by the unchanged model's on the same text",
    relative_to="dense",
)
LOSS = Metric(
    "loss",
    "nats",
    LOWER,
    "quality",
    "computed",
    "mean negative log-likelihood of the tokens of text kept apart",
)
TRAINING_LOSS = Metric(
    "training loss",
    "nats",
    LOWER,
    "quality",
    "computed",
    "mean negative log-likelihood of the training tokens over the last steps",
)
LOSS_INCREASE = Metric(
    "loss increase",
    "nats",
    LOWER,
    "quality",
    "computed",
    "mean rise of the negative log-likelihood over the unchanged model's, on the same text",
)
RECONSTRUCTION_ERROR = Metric(
    "reconstruction error",
    "fraction",
    LOWER,
    "quality",
    "computed",
    "squared change of a layer's output, divided by the squared output",
)
EQUALITY_ERROR = Metric(
    "equality error",
    "",
    LOWER,
    "quality",
    "computed",
    "largest absolute difference between two ways to compute the same",
)

SAME_TOKENS = Metric(
    "same tokens",
    "fraction",
    HIGHER,
    "quality",
    "computed",
    "tokens that are those of the unchanged method, up to the first that is not, of all tokens",
)

# Size and memory
BITS_PER_WEIGHT = Metric(
    "bits per weight",
    "bits",
    LOWER,
    "model-size",
    "counted",
    "all bytes of the compressed weights as written, divided by their number",
)
BITS_PER_PARAMETER = Metric(
    "bits per parameter",
    "bits",
    LOWER,
    "model-size",
    "counted",
    "all bytes of the model, divided by all its parameters",
)
COMPRESSION = Metric(
    "compression ratio",
    "x",
    HIGHER,
    "model-size",
    "counted",
    "bytes of the model in bfloat16 divided by its bytes after compression",
    relative_to="bfloat16",
)
SPARSITY = Metric("sparsity", "fraction", NEITHER, "model-size", "counted", "zeros counted")
PARAMETERS = Metric(
    "trainable parameters", "parameters", LOWER, "memory", "counted", "numbers that are trained"
)
PEAK_MEMORY = Metric(
    "peak memory",
    "MiB",
    LOWER,
    "memory",
    "timed",
    "largest memory of the process and its descendants meanwhile, shared pages counted once; on a"
    " GPU, of its allocator",
)
CACHE_BYTES = Metric(
    "cache size", "MiB", LOWER, "memory", "counted", "bytes of keys and values held"
)
BYTES_MOVED = Metric(
    "bytes moved", "MiB", LOWER, "memory", "counted", "bytes read and written between memories"
)

# Time
TOKENS_PER_SECOND = Metric(
    "tokens per second", "token/s", HIGHER, "throughput", "timed", "tokens divided by wall clock"
)
TIME_TO_FIRST_TOKEN = Metric(
    "time to first token", "ms", LOWER, "latency", "timed", "from the request to its first token"
)
TIME_PER_TOKEN = Metric(
    "time per token", "ms", LOWER, "latency", "timed", "between one token and the next"
)
SPEED_UP = Metric(
    "speed-up",
    "x",
    HIGHER,
    "throughput",
    "timed",
    "time of the baseline divided by the variant's, alternating, median of rounds",
    relative_to="the baseline",
)
STEP_TIME = Metric("step time", "ms", LOWER, "throughput", "timed", "wall clock of one step")
PRODUCT_SPEED = Metric(
    "product speed",
    "x",
    HIGHER,
    "throughput",
    "timed",
    "time of the dense product divided by the variant's, alternating, median of rounds",
    relative_to="dense",
)
SHARE_OF_COPYING = Metric(
    "share of copying",
    "%",
    HIGHER,
    "throughput",
    "timed",
    "time in which the device copies as many bytes as must be moved, of the time taken: at 100 %"
    " memory allows no more",
)
SHARE_OF_BFLOAT16_RATE = Metric(
    "share of bfloat16 rate",
    "%",
    HIGHER,
    "throughput",
    "timed",
    "time in which the device does as many operations in a large bfloat16 matrix product of"
    " PyTorch’s, of the time taken: at 100 % arithmetic allows no more",
)
COMPRESSION_TIME = Metric(
    "compression time",
    "s",
    LOWER,
    "cost",
    "timed",
    "wall clock of making the model smaller, without loading and evaluation",
)
CPU_TIME = Metric(
    "CPU time", "s", LOWER, "cost", "timed", "processor seconds of all threads and descendants"
)

OPERATIONS = Metric(
    "operations",
    "GFLOP",
    LOWER,
    "cost",
    "counted",
    "multiplications and additions of all matrix products",
)
TOKENS_READ = Metric(
    "tokens read",
    "tokens",
    LOWER,
    "cost",
    "counted",
    "tokens that pass through the model's blocks, each as often as it passes",
)

# Several processes
BYTES_SENT = Metric(
    "bytes sent", "MiB", LOWER, "communication", "counted", "bytes that a rank sends to others"
)
IDLE_SHARE = Metric(
    "idle share",
    "fraction",
    LOWER,
    "scale",
    "counted",
    "slots in which a rank waits, divided by all slots",
)

# Serving
PASSES = Metric(
    "passes", "passes", LOWER, "throughput", "counted", "times that the model is gone through"
)
SLOT_USE = Metric(
    "slot use",
    "fraction",
    HIGHER,
    "throughput",
    "counted",
    "tokens asked for, divided by the slots of all passes",
)
NORMALIZED_LATENCY = Metric(
    "normalized latency",
    "ms/token",
    LOWER,
    "latency",
    "timed",
    "time from a request's arrival until it leaves, divided by its tokens",
)
GOODPUT = Metric(
    "goodput",
    "request/s",
    HIGHER,
    "throughput",
    "timed",
    "requests a second that are served within stated limits of first token and time per token",
)
PREDICTION_ERROR = Metric(
    "prediction error",
    "%",
    LOWER,
    None,
    "timed",
    "how far the replay, with costs measured in the run, is from what was then carried out",
)

VOCABULARY = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
