"""Three ways to train little of a linear layer, each as a layer that takes its place.

Shapes in comments: B sequences, T tokens, k numbers into a layer, d out of it, r the rank.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.studies.lora.nf4 import Nf4Linear

ALPHA = 4.0  # what an adapter adds is scaled by ALPHA / r, so that ranks share a learning rate
CODES = 3  # binary codes of a weight, as in most of AlphaTuning's results
REFINEMENTS = 5


class LowRank(nn.Module):
    """LoRA (Hu et al., 2021, equation 3): h = W0 x + alpha / r B A x, with W0 frozen.

    A (r, k) begins normal and B (d, r) as zero, so that nothing is changed at the start.
    """

    def __init__(self, base: nn.Linear | Nf4Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = ALPHA / rank
        k = base.in_features
        start = torch.randn(rank, k, generator=generator, device=generator.device)
        self.a = nn.Parameter(k**-0.5 * start)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return h (B, T, d) for x (B, T, k)."""
        adapted: Tensor = self.base(x) + self.scale * F.linear(F.linear(x, self.a), self.b)
        return adapted

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the plain layer that does the same: W = W0 + alpha / r B A (section 4.1)."""
        return _linear(self.base.weight + self.scale * self.b @ self.a)


class RowScale(nn.Module):
    """h = s * (W x): a factor for each row of W, one at the start, is all that is trained."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.s = nn.Parameter(torch.ones(base.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return h (B, T, d) for x (B, T, k)."""
        scaled: Tensor = self.s * self.base(x)
        return scaled


class FirstCodeScale(nn.Module):
    """AlphaTuning (Kwon et al., 2022): W is about sum of alpha_i b_i, and alpha_1 is trained.

    The codes are computed with as floats: this shows what they cost in quality, not in memory.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        alphas, codes = binary_codes(base.weight.detach())
        self.alpha = nn.Parameter(alphas[:, 0].clone())
        self.first: Tensor
        self.rest: Tensor
        self.register_buffer("first", codes[:, :, 0].contiguous())
        self.register_buffer("rest", (codes[:, :, 1:] * alphas[:, None, 1:]).sum(-1))

    def forward(self, x: Tensor) -> Tensor:
        """Return h (B, T, d) for x (B, T, k)."""
        return F.linear(x, self.rest) + self.alpha * F.linear(x, self.first)


def binary_codes(weight: Tensor, count: int = CODES) -> tuple[Tensor, Tensor]:
    """Return alphas (d, count) and codes of -1 and 1 (d, k, count) that make up a weight (d, k).

    In turn each weight takes the nearest of its row's 2^count sums, and each row the alphas of
    least squared error (Xu et al., 2018, alternating multi-bit quantization).
    """
    signs = list(itertools.product((-1.0, 1.0), repeat=count))
    combinations = torch.tensor(signs, device=weight.device)  # 2^count, count
    halves = 0.5 ** torch.arange(count, device=weight.device)
    alphas = weight.abs().mean(1, keepdim=True) * halves
    for _ in range(REFINEMENTS):
        levels, order = (alphas @ combinations.T).sort()
        between = ((levels[:, 1:] + levels[:, :-1]) / 2).contiguous()
        nearest = torch.searchsorted(between, weight.contiguous())  # d, k
        codes = combinations[order.gather(1, nearest)]  # d, k, count
        square = codes.mT @ codes
        # A row may lack a code or two, as where all its weights are the same.
        square += 1e-6 * weight.shape[1] * torch.eye(count, device=weight.device)
        alphas = torch.linalg.solve(square, codes.mT @ weight[:, :, None])[:, :, 0]
    return alphas, codes


def _linear(weight: Tensor) -> nn.Linear:
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
