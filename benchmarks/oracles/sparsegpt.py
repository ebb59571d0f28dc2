"""SparseGPT transcribed from its paper step by step, slow and plain, to hold our own against.

One linear layer at a time, a Cholesky chain for each, one column after another, and a second
pass through each block once it is pruned, on inputs measured before it was.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from casestudies.lab.models.language_model import Block, LanguageModel


def prune(
    weight: Tensor,
    gram: Tensor,
    *,
    sparsity: float,
    zeros: int = 0,
    group: int = 0,
    block: int = 128,
    damping: float = 0.01,
    bits: int | None = None,
) -> Tensor:
    """Algorithm 1; `zeros` in every `group` columns instead of `sparsity` if they are given."""
    w, h = weight.clone(), gram.clone()
    rows, columns = w.shape
    low, high = w.min(1).values.clamp(max=0), w.max(1).values.clamp(min=0)
    dead = h.diagonal() == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += torch.eye(columns) * damping * gram.diagonal().mean()
    h_inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    u = torch.linalg.cholesky(h_inverse, upper=True)
    for i in range(0, columns, block):
        end = min(i + block, columns)
        errors = torch.zeros(rows, end - i)
        mask = torch.ones(rows, end - i, dtype=torch.bool)
        if not group:
            saliency = (w[:, i:end] / u.diagonal()[i:end]) ** 2
            order = saliency.flatten().sort().indices
            mask.view(-1)[order[: round(sparsity * saliency.numel())]] = False
        for j in range(i, end):
            if group and j % group == 0:
                saliency = (w[:, j : j + group] / u.diagonal()[j : j + group]) ** 2
                order = saliency.sort(dim=1).indices[:, :zeros]
                mask[:, j - i : j - i + group].scatter_(1, order, value=False)
            kept = w[:, j] * mask[:, j - i]
            if bits:
                step = (high - low) / (2**bits - 1)
                zero = (-low / step).round()
                kept = step * ((kept / step).round().add(zero).clamp(0, 2**bits - 1) - zero)
            errors[:, j - i] = (w[:, j] - kept) / u[j, j]
            w[:, j:end] -= errors[:, j - i, None] @ u[None, j, j:end]
            w[:, j] = kept
        w[:, end:] -= errors @ u[i:end, end:]
    return w


@torch.inference_mode()
def prune_model(
    model: LanguageModel, windows: Tensor, prune_layer: Callable[..., Tensor], **settings: object
) -> None:
    """Prune all linear layers of `model` in place, window by window, two passes a block."""
    hidden = [model.embedding(window[None]) for window in windows]
    for block in model.blocks:
        assert isinstance(block, Block)
        linears = block.linears()
        grams = {name: torch.zeros(2 * [layer.in_features]) for name, layer in linears.items()}

        def hook(name: str) -> Callable[[object, tuple[Tensor], object], None]:
            def add(layer: object, inputs: tuple[Tensor], output: object) -> None:
                x = inputs[0].flatten(0, -2)
                grams[name] += x.T @ x  # noqa: B023

            return add

        hooks = [layer.register_forward_hook(hook(name)) for name, layer in linears.items()]
        for h in hidden:
            block(h)
        for registered in hooks:
            registered.remove()
        for name, layer in linears.items():
            layer.weight.copy_(prune_layer(layer.weight, grams.pop(name), **settings))
        hidden = [block(h) for h in hidden]
