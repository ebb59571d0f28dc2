"""Which units to remove, and how the rest of a layer makes up for them.

The optimal brain surgeon, as oBERT (Kurtic et al., 2022, section 3) has it for groups of weights,
here for columns of a layer and with its own inputs for a curvature: with W (outputs, columns), the
Gram matrix G of the inputs and H = (G + damping)^-1, removing the columns u costs at least

    tr(W_u (H_uu)^-1 W_u^T)    and takes    W - W_u (H_uu)^-1 H_u    to keep the cost that low.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from casestudies.lab.models.language_model import Block
from casestudies.lab.studies.structured_pruning.removing import (
    Part,
    reader,
    spread,
    unit_width,
    units,
)

DAMPING = 0.01  # of the mean of G's diagonal
ROUNDS = 16  # in which neurons are chosen anew

# Returns what it costs to remove each unit, as a share of all that the layer gives.
Costs = Callable[[Block, Part, Tensor], Tensor]


def magnitude(block: Block, part: Part, gram: Tensor) -> Tensor:
    """Return the sum of the squares of a unit's weights in all matrices."""
    config = block.config
    if part == "neurons":
        rows = block.gate.weight.square().sum(1) + block.up.weight.square().sum(1)
        return rows + block.down.weight.square().sum(0)
    shared, count = config.width // config.heads, units(config, part)
    of_heads = block.query.weight.square().sum(1) + block.output.weight.square().sum(0)
    of_shared = block.key.weight.square().sum(1) + block.value.weight.square().sum(1)
    return of_heads.view(count, -1).sum(1) + of_shared.view(count, shared).sum(1)


def contribution(block: Block, part: Part, gram: Tensor) -> Tensor:
    """Return the square of what each unit alone adds to the layer's outputs."""
    weight, width = reader(block, part).weight, unit_width(block.config, part)
    parts = weight.unflatten(1, (-1, width)).transpose(0, 1)  # units, outputs, width
    own = _of_units(gram, width)
    return (parts @ own * parts).sum((1, 2)) / _given(weight, gram)


def at_random(generator: torch.Generator) -> Costs:
    """Return what gives each unit a random cost."""

    def costs(block: Block, part: Part, gram: Tensor) -> Tensor:
        return torch.rand(units(block.config, part), generator=generator).to(gram.device)

    return costs


def lowest(costs: list[Tensor], part: Part, share: float) -> list[Tensor]:
    """Return the units to remove of each block, that share of all.

    Of neurons each block loses as many. Groups of heads are few, so those of all blocks are
    compared; each block keeps the one that costs most.
    """
    if part == "neurons":
        number = round(share * len(costs[0]))
        return [cost.topk(number, largest=False).indices.sort().values for cost in costs]
    together = torch.stack(costs).clone()  # blocks, units
    number = min(round(share * together.numel()), together.numel() - len(together))
    together.scatter_(1, together.argmax(1, keepdim=True), torch.inf)
    removed = torch.zeros_like(together, dtype=torch.bool)
    removed.view(-1)[together.flatten().topk(number, largest=False).indices] = True
    return [row.nonzero()[:, 0] for row in removed]


def removal_costs(weight: Tensor, inverted: Tensor, width: int) -> Tensor:
    """Return tr(W_u (H_uu)^-1 W_u^T) for each unit, from W (outputs, columns) and H."""
    if width == 1:
        return weight.square().sum(0) / inverted.diagonal()
    parts = weight.unflatten(1, (-1, width)).permute(1, 2, 0)  # units, width, outputs
    return (parts * torch.linalg.solve(_of_units(inverted, width), parts)).sum((1, 2))


def operate(weight: Tensor, gram: Tensor, width: int, number: int) -> tuple[Tensor, Tensor]:
    """Return which units were removed, sorted, and the weights that make up for them.

    `weight` (outputs, columns) are those of the layer and `gram` its inputs'. The removed columns
    are zero. Units are chosen one after another, or where there are many in as many rounds as
    ROUNDS, and each time the rest has made up for those before.
    """
    weight, inverted = weight.clone(), inverse(gram)
    alive = torch.arange(weight.shape[1] // width, device=weight.device)
    at_once = -(-number // ROUNDS)
    left = number
    while left:
        columns = spread(alive, width)
        costs = removal_costs(weight[:, columns], inverted[columns][:, columns], width)
        least = costs.topk(min(at_once, left), largest=False).indices
        u = spread(alive[least], width)
        made_up = torch.linalg.solve(inverted[u][:, u], inverted[u])  # (H_uu)^-1 H_u
        weight -= weight[:, u] @ made_up
        inverted -= inverted[:, u] @ made_up
        still = torch.ones(len(alive), dtype=torch.bool, device=alive.device)
        still[least] = False
        alive = alive[still]
        left -= len(least)
    removed = torch.ones(weight.shape[1] // width, dtype=torch.bool, device=weight.device)
    removed[alive] = False
    chosen = removed.nonzero()[:, 0]
    weight[:, spread(chosen, width)] = 0  # and not what rounding left there
    return chosen, weight


def inverse(gram: Tensor) -> Tensor:
    """Return H = (G + damping)^-1."""
    damped = gram.clone()
    damped.diagonal().add_(DAMPING * gram.diagonal().mean())
    return torch.cholesky_inverse(torch.linalg.cholesky(damped))


def _of_units(matrix: Tensor, width: int) -> Tensor:
    """Return the blocks on the diagonal (units, width, width)."""
    count = len(matrix) // width
    place = torch.arange(count, device=matrix.device)
    return matrix.view(count, width, count, width)[place, :, place]


def _given(weight: Tensor, gram: Tensor) -> Tensor:
    return (weight @ gram * weight).sum()
