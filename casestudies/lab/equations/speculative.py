"""What speculative decoding gains, and what it costs in operations."""

from casestudies.lab.equations.equation import (
    NATURAL,
    NOT_NEGATIVE,
    SHARE,
    Source,
    Symbol,
    equation,
)

ACCEPTANCE = Symbol(
    "α", "acceptance", "probability that a drafted token is accepted", "fraction", SHARE
)
DRAFTED = Symbol("γ", "drafted", "tokens that are drafted in a step", "tokens", NATURAL)
COST = Symbol(
    "c", "draft_cost", "time of a draft's token over that of a step of the model", "x", NOT_NEGATIVE
)
DRAFT_OPERATIONS = Symbol(
    "ĉ",
    "draft_operations",
    "operations of the draft over the model's, for a token",
    "x",
    NOT_NEGATIVE,
)

PAPER = "leviathan2022speculative"
INDEPENDENT = "Each drafted token is accepted independently, with one probability."
NOT_INDEPENDENT = "Acceptance varies with the text and with the place in the draft."


@equation(
    "Expected tokens of a step",
    "(1 - α^(γ+1))/(1 - α)",
    "tokens",
    ACCEPTANCE,
    DRAFTED,
    holds=INDEPENDENT + " Counts the token that the model adds itself; γ + 1 for α = 1.",
    fails=NOT_INDEPENDENT + " Trees of drafts have equations of their own.",
    sources=(Source(publication=PAPER, place="equation 1"),),
)
def expected_tokens(*, acceptance: float, drafted: int) -> float:
    """Return the tokens that one step of the model yields on average."""
    if acceptance == 1:
        return drafted + 1
    return (1 - acceptance ** (drafted + 1)) / (1 - acceptance)


@equation(
    "Speed of speculative decoding",
    "(1 - α^(γ+1))/((1 - α)·(γ·c + 1))",
    "x",
    ACCEPTANCE,
    DRAFTED,
    COST,
    holds=INDEPENDENT + " Checking γ + 1 tokens takes as long as making one: small batches that"
    " wait for memory.",
    fails=NOT_INDEPENDENT + " With large batches, or on a CPU, checking takes longer.",
    sources=(Source(publication=PAPER, place="theorem 3.8"),),
)
def speculative_speed(*, acceptance: float, drafted: int, draft_cost: float) -> float:
    """Return the expected time of plain decoding divided by that of speculative decoding."""
    tokens = expected_tokens(acceptance=acceptance, drafted=drafted)
    return tokens / (drafted * draft_cost + 1)


@equation(
    "Operations of speculative decoding",
    "(1 - α)·(γ·ĉ + γ + 1)/(1 - α^(γ+1))",
    "x",
    ACCEPTANCE,
    DRAFTED,
    DRAFT_OPERATIONS,
    holds=INDEPENDENT,
    fails=NOT_INDEPENDENT + " Operations, not energy: weights are read less often.",
    sources=(Source(publication=PAPER, place="theorem 3.11"),),
)
def speculative_operations(*, acceptance: float, drafted: int, draft_operations: float) -> float:
    """Return the expected operations for a token divided by those of plain decoding."""
    tokens = expected_tokens(acceptance=acceptance, drafted=drafted)
    return (drafted * draft_operations + drafted + 1) / tokens
