"""Linear layers in 16 bits on a CPU: float64's products, rounded once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.train import sixteen_bits

ULP = {torch.bfloat16: 2**-8, torch.float16: 2**-11}  # half of it, relative


def passed(x: Tensor, weight: Tensor, gradient: Tensor) -> list[Tensor]:
    """Return the product, and the gradients of x and of the weight."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    product = F.linear(x, weight)
    return [product.detach(), *torch.autograd.grad(product, (x, weight), gradient)]


@pytest.mark.parametrize("dtype", ULP)
def test_products_and_gradients_are_those_of_more_bits_rounded_once(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    given = [
        torch.randn(*shape, generator=generator).to(dtype)
        for shape in ((2, 5, 24), (7, 24), (2, 5, 7))
    ]
    exact = passed(*(one.double() for one in given))
    with sixteen_bits.linears("cpu"):
        found = passed(*given)
    for own, right in zip(found, exact, strict=True):
        assert own.dtype == dtype
        # Where numbers cancel float32's own error is more than the rounding.
        torch.testing.assert_close(own.double(), right, rtol=ULP[dtype], atol=1e-5)


def test_only_linear_layers_of_16_bits_without_bias_on_a_cpu_are_these() -> None:
    x, weight, bias = torch.ones(1, 3), torch.ones(2, 3, requires_grad=True), torch.ones(2)
    ours = sixteen_bits.Linear.__name__

    def way(device: str, *given: Tensor) -> str:
        with sixteen_bits.linears(device):
            made_by = F.linear(*given).grad_fn
        assert made_by
        return made_by.name()

    sixteen = x.bfloat16(), weight.bfloat16()
    assert ours in way("cpu", *sixteen)
    assert ours not in way("cpu", x, weight)
    assert ours not in way("cpu", *sixteen, bias.bfloat16())
    assert ours not in way("cuda", *sixteen)


def test_what_is_too_large_for_16_bits_is_infinite() -> None:
    large = torch.full((1, 2), 300.0, dtype=torch.float16)
    with sixteen_bits.linears("cpu"):
        assert F.linear(large, large).isinf().all()
