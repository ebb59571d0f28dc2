"""Numbers and effects in words."""

from collections.abc import Sequence

from reviewapp.ui.units import number
from taxonomy.choices import Phase, Qualifier, RatioRule
from taxonomy.claims.marks import Mark
from taxonomy.models import Axis

TIMES = "\u202f×"
# What a factor of each quantity means to a reader; {} is the phase.
EFFECTS = {
    "speedup-end-to-end": "faster {}",
    "speedup-layer": "faster layers",
    "speedup-kernel": "faster kernels",
    "speedup-accelerator": "faster accelerator designs",
    "throughput-gain": "more throughput in {}",
    "throughput-gain-at-equal-latency": "more throughput at equal latency",
    "throughput-gain-decode": "more throughput in decoding",
    "scalability-gain": "better scaling",
    "latency-reduction": "less latency in {}",
    "tail-latency-reduction": "less tail latency in {}",
    "memory-reduction": "less memory for {}",
    "activation-memory-reduction": "less memory for activations",
    "model-size-reduction": "smaller models",
    "trainable-parameter-reduction": "fewer trainable parameters",
    "largest-model-increase": "larger models in {}",
    "context-length-increase": "longer contexts",
    "concurrency-increase": "more tasks at once",
    "burst-tolerance-increase": "tolerance of larger bursts",
    "recomputation-overhead-reduction": "less overhead of recomputation",
    "pipeline-bubble-reduction": "smaller pipeline bubbles",
    "cost-reduction": "less cost of {}",
    "price-advantage": "cheaper hardware",
    "compute-reduction": "less compute in {}",
    "energy-reduction": "less energy for {}",
    "communication-volume-reduction": "less communication",
    "communication-time-reduction": "less time for communication",
}

# What a part of a model is called, where that is not its name with spaces.
PARTS = {"moe-layer": "MoE layer"}


def inside(name: str) -> str:
    """Return the name as it stands inside a sentence: "quantization", but "KV-cache"."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def factor(value: float, *, published: bool = False) -> str:
    """Return a factor without its sign: as published, else with three digits."""
    return number(value) if published else number(float(f"{value:.3g}"))


def spelled(mark: Mark) -> str:
    """Return what a mark stands for: "up to 1.56 ×", "2 to 3 ×"; of a computed factor so."""
    published = mark.claim.ratio_rule == RatioRule.FACTOR
    high = factor(mark.high, published=published)
    if mark.is_range:
        return f"{factor(mark.low, published=published)} to {high}{TIMES}"
    said = "" if mark.claim.is_range_end else mark.claim.get_qualifier_display()
    return f"{said} {high}{TIMES}".strip()


def effect(axis: Axis) -> str:
    """Return what is better by the factors of an axis: "less memory for inference"."""
    words = EFFECTS.get(
        axis.quantity.slug, f"({axis.quantity.name[:1].lower()}{axis.quantity.name[1:]}, {{}})"
    )
    phase = "use" if axis.phase == Phase.NONE else axis.get_phase_display()
    part = f" ({PARTS.get(axis.part, axis.part.replace('-', ' '))})" if axis.part else ""
    return words.format(phase) + part


def span(marks: Sequence[Mark]) -> str:
    """Return the factors of one axis from lowest to highest; of a best case at the top only it."""
    top = max(marks, key=lambda mark: mark.high)
    low = min(marks, key=lambda mark: mark.low)
    if top.claim.qualifier == Qualifier.UP_TO or low.low == top.high:
        return spelled(top)
    lowest = factor(low.low, published=low.claim.ratio_rule == RatioRule.FACTOR)
    highest = factor(top.high, published=top.claim.ratio_rule == RatioRule.FACTOR)
    return f"{lowest} to {highest}{TIMES}"
