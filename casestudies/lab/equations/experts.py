"""What experts add to a model: parameters, those that a token reads, and places for tokens."""

from casestudies.lab.equations.equation import (
    BATCH,
    LAYERS,
    POSITIVE,
    WIDTH,
    Source,
    Symbol,
    equation,
)
from casestudies.lab.equations.parameters import FFN

EXPERTS = Symbol("E", "experts", "experts in a layer", "experts")
CHOSEN = Symbol("K", "chosen", "experts that each token goes to", "experts")
ROUTED = Symbol("T", "routed_tokens", "tokens that a layer routes at one time", "tokens")
FACTOR = Symbol("c", "capacity_factor", "capacity factor: places over an even share", "x", POSITIVE)
ONE_EXPERT = Symbol(
    "P", "parameters", "parameters of the same model with one expert", "parameters", POSITIVE
)


def check_chosen(chosen: int, experts: int) -> None:
    """Raise ValueError where a token would go to more experts than there are."""
    if chosen > experts:
        raise CHOSEN.wrong(chosen, f"is above {EXPERTS.letter} = {experts}")


@equation(
    "Parameters of a model with experts",
    "P + L·((E - 1)·3·h·f + E·h)",
    "parameters",
    ONE_EXPERT,
    LAYERS,
    WIDTH,
    FFN,
    EXPERTS,
    holds="Mixtral: experts with three matrices in each of the L layers, and a router of E·h.",
    fails="Experts with two matrices (Switch), experts in every second layer (give their number as"
    " L), or experts that all tokens share (count these in P).",
    sources=(
        Source(
            reference="Jiang et al. 2024, Mixtral of Experts (arXiv 2401.04088)",
            place="table 1 and section 2.1; counted, not printed there",
            from_memory=True,
        ),
    ),
)
def moe_parameters(*, parameters: float, layers: int, hidden: int, ffn: int, experts: int) -> float:
    """Return all parameters, which have to be in memory, whatever a token reads."""
    return parameters + layers * ((experts - 1) * 3 * hidden * ffn + experts * hidden)


@equation(
    "Parameters that a token reads in a model with experts",
    "P + L·((K - 1)·3·h·f + E·h)",
    "parameters",
    ONE_EXPERT,
    LAYERS,
    WIDTH,
    FFN,
    EXPERTS,
    CHOSEN,
    holds="Operations of a token: 2 for each of these. Mixtral's shape, as above.",
    fails="Not the memory of the model, and not what a batch reads: see distinct experts.",
    sources=(
        Source(
            reference="Jiang et al. 2024, Mixtral of Experts (arXiv 2401.04088)",
            place="section 2.1, active parameter count; counted, not printed there",
            from_memory=True,
        ),
    ),
)
def active_parameters(
    *, parameters: float, layers: int, hidden: int, ffn: int, experts: int, chosen: int
) -> float:
    """Return the parameters that take part in the computation of one token."""
    check_chosen(chosen, experts)
    return parameters + layers * ((chosen - 1) * 3 * hidden * ffn + experts * hidden)


@equation(
    "Capacity of an expert",
    "c·K·T/E",
    "tokens",
    FACTOR,
    CHOSEN,
    ROUTED,
    EXPERTS,
    holds="Switch (K = 1) and GShard's top-K routing; implementations round it to a whole number.",
    fails="Routing that drops nothing has no capacity.",
    sources=(
        Source(
            reference="Fedus et al. 2021, Switch Transformers (arXiv 2101.03961)",
            place="equation 3",
        ),
        Source(publication="hwang2022tutel", place="section 2", from_memory=True),
    ),
)
def expert_capacity(
    *, capacity_factor: float, chosen: int, routed_tokens: int, experts: int
) -> float:
    """Return the tokens that an expert has places for; those beyond skip it."""
    check_chosen(chosen, experts)
    return capacity_factor * chosen * routed_tokens / experts


@equation(
    "Distinct experts that a batch reads",
    "E·(1 - (1 - K/E)^b)",
    "experts",
    EXPERTS,
    CHOSEN,
    BATCH,
    holds="One token of each of b sequences, each with K experts of its own at random, all equally"
    " likely.",
    fails="Trained routers prefer some experts, and neighbouring tokens choose alike: it is then an"
    " upper estimate.",
    sources=(
        Source(
            reference="expectation of a draw without replacement, repeated independently",
            place="derived here",
        ),
    ),
)
def distinct_experts(*, experts: int, chosen: int, batch: int) -> float:
    """Return the expected number of experts of a layer whose weights a decoding step reads."""
    check_chosen(chosen, experts)
    return experts * (1 - (1 - chosen / experts) ** batch)
