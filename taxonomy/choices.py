"""What a field of a claim and of its outcomes may hold, with the words that readers see."""

from django.db.models import TextChoices


class Objective(TextChoices):
    """What a claim is about; assigned by this project."""

    THROUGHPUT = "throughput", "Throughput"
    LATENCY = "latency", "Latency"
    MEMORY = "memory", "Memory"
    MODEL_SIZE = "model-size", "Model size"
    QUALITY = "quality", "Quality"
    COST = "cost", "Cost"
    SCALE = "scale", "Scale"
    COMMUNICATION = "communication", "Communication"
    RELIABILITY = "reliability", "Reliability"


class Direction(TextChoices):
    HIGHER = "higher_better", "higher is better"
    LOWER = "lower_better", "lower is better"


class ClaimSource(TextChoices):
    ABSTRACT = "abstract", "abstract"
    PAPER = "paper", "paper"
    README = "readme", "project README"
    PRESS = "press", "press coverage"
    SUMMARY = "third-party summary", "third-party summary"


class Qualifier(TextChoices):
    """How the source hedges a number, with the words that stand before it; none where it is exact.

    "up to" is the best case of several; the ends of a range are two claims.
    """

    EXACT = "exact", ""
    UP_TO = "up-to", "up to"
    AT_LEAST = "at-least", "at least"
    MORE_THAN = "more-than", "more than"
    LESS_THAN = "less-than", "less than"
    APPROX = "approx", "approx."
    RANGE_LOW = "range-low", "range from"
    RANGE_HIGH = "range-high", "range to"


class Phase(TextChoices):
    """In which part of a model's life a number was measured."""

    TRAINING = "training", "training"
    FINE_TUNING = "fine-tuning", "fine-tuning"
    INFERENCE = "inference", "inference"
    SERVING = "serving", "serving"
    COMPRESSION = "compression", "compression"
    NONE = "none", "not tied to a phase"


class Scope(TextChoices):
    """Whether a claim is an effect, and whether that of one strategy was shown alone."""

    ISOLATED = "isolated", "isolated"
    COMBINED = "combined", "combined"
    AGAINST_ANOTHER = "against-another", "against another"
    SYSTEM = "system", "whole system"
    DESCRIPTIVE = "descriptive", "descriptive"


# The scopes of effects, from what is shown alone to what only differs between two systems.
EFFECTS = (Scope.ISOLATED, Scope.COMBINED, Scope.AGAINST_ANOTHER)


class Sureness(TextChoices):
    """How sure the reader of a claim was of its scope and strategies."""

    HIGH = "high", "high"
    MEDIUM = "medium", "medium"
    LOW = "low", "low"


class BaselineKind(TextChoices):
    """What a number is relative to."""

    UNMODIFIED = "unmodified", "the same system without it"
    OTHER_SYSTEM = "other-system", "another system"
    UNNAMED = "unnamed", "not named"
    OTHER_MODEL = "other-model", "another model of like quality"
    OTHER_RESOURCE = "other-resource", "the usual, dearer hardware or service"


class RatioRule(TextChoices):
    """How the factor of a claim follows from its number."""

    FACTOR = "factor", "published as a factor"
    LESS = "less", "reduced by p %: 1 / (1 - p/100)"
    MORE = "more", "p % more or faster: 1 + p/100"
    SHARE = "share", "p % of the baseline is left: 100/p"
    AMBIGUOUS = "ambiguous", "the wording allows more than one factor"
    NONE = "none", "not an effect ratio"


class QuantityGroup(TextChoices):
    """What kinds of quantities there are, in the order in which they are listed."""

    SPEED = "speed", "Speed"
    THROUGHPUT = "throughput", "Throughput"
    LATENCY = "latency", "Latency"
    MEMORY = "memory", "Memory"
    SIZE = "size", "Size"
    SCALE = "scale", "Scale"
    COST = "cost", "Cost"
    COMMUNICATION = "communication", "Communication"
    UTILISATION = "utilisation", "Utilisation"
    QUALITY = "quality", "Quality"


class AxisKind(TextChoices):
    """What stands on the axis of a quantity."""

    RATIO = "ratio", "the claim's factor in the good direction"
    VALUE = "value", "the claim's number in one unit"


class DeviceRole(TextChoices):
    """How a claim comes by a device."""

    STATED = "stated", "named by the claim"
    IMPLIED = "implied", "implied by what the claim names"
    BASELINE = "baseline", "named for the baseline"


class DeviceNamed(TextChoices):
    """What a claim's own words say of the device that it was measured on."""

    PRODUCT = "product", "a product"
    KIND = "kind", "only a kind"
    NONE = "none", "no device"


class RemarkKind(TextChoices):
    DOUBT = "doubt", "doubt"
    CORRECTION = "correction", "corrected"


class Replicability(TextChoices):
    """How far a small run could speak to a claim, as judged before any run."""

    NO = "no", "no run here can speak to it"
    MODEL = "model", "only a formula fed with measured numbers"
    DIRECTION = "direction", "its direction only"
    SAME_QUANTITY = "same-quantity", "the quantity itself"
    GPU_ONLY = "gpu-only", "the quantity itself, on a GPU"


# What a run on a plain CPU could say something about.
CPU_CAN_TRY = (Replicability.MODEL, Replicability.DIRECTION, Replicability.SAME_QUANTITY)


class Status(TextChoices):
    """What a run says of a claim, by the rule written before it."""

    SUPPORTED = "supported", "supported"
    DIRECTION_AGREES = "direction agrees", "direction agrees"
    NOT_REPRODUCED = "not reproduced", "not reproduced"
    NOT_COMPARABLE = "not comparable", "not comparable"
    NOT_RUN = "not run", "not run"


class Origin(TextChoices):
    """Where a run was made: in the project, whose runs ship with it, on this site, or elsewhere."""

    REFERENCE = "reference"
    HERE = "here"
    CONTRIBUTED = "contributed"


class SynonymKind(TextChoices):
    """How a word of the field stands to the strategy or the word that it is listed under."""

    SAME = "same", "means the same"
    NARROWER = "narrower", "is a kind of it"
    SEE_ALSO = "see_also", "is suggested beside it"
    WHOLE_WORD = "whole_word", "means the same where it stands as a word of its own"
