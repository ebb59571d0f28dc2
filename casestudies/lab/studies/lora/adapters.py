"""Three ways to train little of a linear layer, each as a layer that takes its place.

Shapes in comments: B sequences, T tokens, k numbers into a layer, d out of it, r the rank.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.studies.lora.binary import binary_codes, packed, unpacked
from casestudies.lab.studies.lora.frozen import Nf4Linear, product

ALPHA = 4.0  # what an adapter adds is scaled by ALPHA / r, so that ranks share a learning rate


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

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the plain layer that does the same."""
        return _linear(self.s[:, None] * self.base.weight)


class FirstCodeScale(nn.Module):
    """AlphaTuning (Kwon et al., 2022): W is about sum of alpha_i b_i, and alpha_1 is trained.

    The codes b_i are stored in a bit each, and computed with as floats.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        alphas, codes = binary_codes(base.weight.detach())
        self.in_features, self.out_features = base.in_features, base.out_features
        self.alpha = nn.Parameter(alphas[:, 0].clone())
        self.alphas: Tensor  # d, all but the first
        self.codes: Tensor  # one row of bytes for each code
        self.register_buffer("alphas", alphas[:, 1:].clone())
        self.register_buffer("codes", torch.stack([packed(code) for code in codes.unbind(-1)]))

    @property
    def constant_bytes(self) -> int:
        """Return how many of the stored bytes scale the codes."""
        return self.alpha.nbytes + self.alphas.nbytes

    @property
    def stored_bytes(self) -> int:
        """Return the bytes of codes and scales."""
        return self.codes.nbytes + self.constant_bytes

    def forward(self, x: Tensor) -> Tensor:
        """Return h (B, T, d) for x (B, T, k)."""
        return product(x, self._rest) + self.alpha * product(x, self._first)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the plain layer that does the same."""
        return _linear(self._rest() + self.alpha[:, None] * self._first())

    def _first(self) -> Tensor:
        return self._code(0)

    def _rest(self) -> Tensor:
        scaled = zip(self.alphas.unbind(1), range(1, len(self.codes)), strict=True)
        return sum((a[:, None] * self._code(i) for a, i in scaled), torch.zeros(()))

    def _code(self, number: int) -> Tensor:
        return unpacked(self.codes[number], torch.Size((self.out_features, self.in_features)))


def _linear(weight: Tensor) -> nn.Linear:
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
