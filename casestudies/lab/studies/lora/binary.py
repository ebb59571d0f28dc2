"""Weights as a sum of binary codes, each with a scale for every row: what AlphaTuning begins from.

Shapes in comments: k numbers into a layer, d out of it.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

CODES = 3  # binary codes of a weight, as in most of AlphaTuning's results
REFINEMENTS = 5
BYTE = 8  # codes


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


def packed(codes: Tensor) -> Tensor:
    """Return codes of -1 and 1, of any shape, as bytes of eight."""
    bits = (codes.flatten() > 0).to(torch.uint8)
    eights = F.pad(bits, (0, -len(bits) % BYTE)).view(-1, BYTE)
    return (eights << _places(codes.device)).sum(1, dtype=torch.uint8)


def unpacked(stored: Tensor, shape: torch.Size) -> Tensor:
    """Return the codes of -1 and 1 of this shape, as float32."""
    bits = (stored[:, None] >> _places(stored.device)) & 1
    return bits.flatten()[: shape.numel()].view(shape).float().mul_(2).sub_(1)


def _places(device: torch.device) -> Tensor:
    return torch.arange(BYTE, dtype=torch.uint8, device=device)
