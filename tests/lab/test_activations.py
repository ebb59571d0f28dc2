"""The bytes that the equations give for a layer's activations, counted in layers that are built."""

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.equations import activations

GENERATOR = torch.Generator().manual_seed(0)


def weight(outputs: int, inputs: int) -> Tensor:
    return torch.randn(outputs, inputs, generator=GENERATOR).bfloat16().requires_grad_()


class Kept:
    """Counts the storages that autograd keeps inside the context, the given weights aside."""

    def __init__(self, *weights: Tensor) -> None:
        self._storages = {w.untyped_storage().data_ptr(): w.untyped_storage() for w in weights}
        self._weights = set(self._storages)

    def __enter__(self) -> "Kept":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)

    def _keep(self, tensor: Tensor) -> Tensor:
        # The storages are held, so that none is freed and its address used again.
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage
        return tensor

    @property
    def bytes(self) -> int:
        kept = set(self._storages) - self._weights
        return sum(self._storages[address].nbytes() for address in kept)


def dropped(x: Tensor) -> Tensor:
    """Dropout whose mask takes one byte, as on a GPU."""
    return x * (torch.rand(x.shape, generator=GENERATOR) < 0.9)


def test_a_layer_of_a_gpt_keeps_what_korthikanti_counts() -> None:
    s, b, h, a = 128, 2, 256, 8
    query, key, value, out = (weight(h, h) for _ in range(4))
    up, down = weight(4 * h, h), weight(h, 4 * h)
    x = weight(b * s, h).detach().view(b, s, h).requires_grad_()
    with Kept(query, key, value, out, up, down) as kept:
        y = F.layer_norm(x, (h,))
        q, k, v = (F.linear(y, w).view(b, s, a, -1).transpose(1, 2) for w in (query, key, value))
        scores = dropped(torch.softmax(q @ k.transpose(2, 3) / 4, dim=-1))
        x = x + dropped(F.linear((scores @ v).transpose(1, 2).reshape(b, s, h), out))
        x = x + dropped(F.linear(F.gelu(F.linear(F.layer_norm(x, (h,)), up)), down))
    expected = activations.layer_activation_bytes(tokens=s, batch=b, hidden=h, heads=a)
    statistics = 2 * 2 * s * b * 2
    assert kept.bytes == expected + statistics


def test_a_layer_of_a_llama_keeps_what_its_equation_counts() -> None:
    s, b, h, a, k, d, f = 64, 2, 32, 4, 2, 8, 48
    query, key, value, out = weight(a * d, h), weight(k * d, h), weight(k * d, h), weight(h, a * d)
    gate, up, down = weight(f, h), weight(f, h), weight(h, f)
    x = weight(b * s, h).detach().view(b, s, h).requires_grad_()
    with Kept(query, key, value, out, gate, up, down) as kept:
        y = F.rms_norm(x, (h,))
        queries, keys, values = (
            F.linear(y, w).view(b, s, -1, d).transpose(1, 2) for w in (query, key, value)
        )
        y = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
        x = x + F.linear(y.transpose(1, 2).reshape(b, s, -1), out)
        y = F.rms_norm(x, (h,))
        x = x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)
    shape = {"tokens": s, "batch": b, "hidden": h, "heads": a, "kv_heads": k, "head_dim": d}
    expected = activations.gated_layer_activation_bytes(**shape, number_bytes=2, ffn=f)
    statistics = 4 * (2 * s * b + s * b * a)
    # This norm is several kernels, and keeps its input in 32 bits instead of 16.
    assert kept.bytes == expected + 2 * 2 * s * b * h + statistics
