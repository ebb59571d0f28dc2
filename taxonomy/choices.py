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


class Replicability(TextChoices):
    """How far a small run could speak to a claim, as judged before any run."""

    NO = "no", "no run here can speak to it"
    MODEL = "model", "only a formula fed with measured numbers"
    DIRECTION = "direction", "its direction only"
    SAME_QUANTITY = "same-quantity", "the quantity itself"
    GPU_ONLY = "gpu-only", "the quantity itself, on a GPU"


class Status(TextChoices):
    """What a run says of a claim, by the rule written before it."""

    SUPPORTED = "supported", "supported"
    DIRECTION_AGREES = "direction agrees", "direction agrees"
    NOT_REPRODUCED = "not reproduced", "not reproduced"
    NOT_COMPARABLE = "not comparable", "not comparable"
    NOT_RUN = "not run", "not run"


class SynonymKind(TextChoices):
    """How a word of the field stands to the strategy or the word that it is listed under."""

    SAME = "same", "means the same"
    NARROWER = "narrower", "is a kind of it"
    SEE_ALSO = "see_also", "is suggested beside it"
    WHOLE_WORD = "whole_word", "means the same where it stands as a word of its own"
