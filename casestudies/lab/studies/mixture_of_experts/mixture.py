"""A Switch layer: a router sends each token to one of E experts (Fedus et al., 2021, section 2).

Shapes in comments: N tokens of all sequences, C width, H hidden width, E experts.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.equations.experts import expert_capacity


class Routing(NamedTuple):
    """Where tokens go: the expert of each, its share there, and the router's probabilities."""

    expert: Tensor  # N
    gate: Tensor  # N, equation 1 of the paper, of the chosen expert
    probabilities: Tensor  # N, E


def route(x: Tensor, router: Tensor) -> Routing:
    """Return where tokens (N, C) go by a router (E, C)."""
    probabilities = F.linear(x, router).softmax(-1)
    gate, expert = probabilities.max(-1)
    return Routing(expert, gate, probabilities)


def places(capacity_factor: float, tokens: int, experts: int) -> int:
    """Return how many of so many tokens each expert takes: its capacity, rounded down."""
    capacity = expert_capacity(
        capacity_factor=capacity_factor, chosen=1, routed_tokens=tokens, experts=experts
    )
    return int(capacity)


def taken(expert: Tensor, experts: int, capacity: int) -> Tensor:
    """Return whose expert (N) still has a place, (N): the first so many of each."""
    chosen = F.one_hot(expert, experts)
    before = (chosen.cumsum(0) - chosen).gather(1, expert[:, None])[:, 0]
    return before < capacity


def balance(routing: Routing) -> Tensor:
    """Return E times the sum of shares of tokens times mean probabilities: equation 4.

    It is 1 where the experts get as many tokens each, and E where one gets all for sure.
    """
    experts = routing.probabilities.shape[1]
    shares = routing.expert.bincount(minlength=experts) / len(routing.expert)
    return experts * (shares * routing.probabilities.mean(0)).sum()


def gated(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return one expert's output (N, C), or a dense layer's: a gated feed-forward network."""
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


class Mixture(nn.Module):
    """A router and its experts, in the place of a feed-forward network.

    With a capacity factor an expert takes so many times its even share of the tokens; those beyond
    get zero. With `residual`, every token also goes through a dense network of the same size, to
    which its expert adds (DeepSpeed-MoE, section 4.1). `seen` is where the last tokens went, and
    `dropped` how many found no place.
    """

    seen: Routing
    dropped: int

    def __init__(self, width: int, hidden: int, experts: int, *, residual: bool = False) -> None:
        super().__init__()
        self.capacity_factor: float | None = None
        self.router = nn.Parameter(torch.empty(experts, width))
        self.gate = nn.Parameter(torch.empty(experts, hidden, width))
        self.up = nn.Parameter(torch.empty(experts, hidden, width))
        self.down = nn.Parameter(torch.empty(experts, width, hidden))
        shared = (hidden, width), (hidden, width), (width, hidden)
        self.shared = nn.ParameterList(torch.empty(*shape) for shape in shared if residual)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of hidden (B, T, C), in the same shape."""
        tokens = x.flatten(0, 1)
        self.seen = routing = route(tokens, self.router)
        # Tokens in the order of their experts, those without a place left out.
        order = routing.expert.argsort(stable=True)
        if self.capacity_factor is not None:
            capacity = places(self.capacity_factor, len(tokens), len(self.router))
            kept = taken(routing.expert, len(self.router), capacity)
            order = order[kept[order]]
        self.dropped = len(tokens) - len(order)
        counts = routing.expert[order].bincount(minlength=len(self.router)).tolist()
        weights = zip(self.gate.unbind(), self.up.unbind(), self.down.unbind(), strict=True)
        groups = tokens[order].split(counts)
        found = torch.cat([gated(g, *own) for g, own in zip(groups, weights, strict=True)])
        found = found * routing.gate[order, None]
        output = torch.zeros_like(tokens).index_copy(0, order, found)
        if len(self.shared):
            output = output + gated(tokens, *self.shared)
        return output.view_as(x)
