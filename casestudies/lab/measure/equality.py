"""Computations on a device held against what is exact, each with a tolerance."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# How far a result in a dtype may be from the same computed in float64 of the same inputs, as a
# share of the largest: sums in float32, and the result rounded once.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 5e-4, torch.bfloat16: 4e-3}


@dataclass(frozen=True)
class Equality:
    """A computation on a device held against one in float64 on the CPU.

    `apart` returns how far they are from each other, given the device: the largest difference as a
    share of the largest number, or the share of weights that are not the same.
    """

    what: str
    tolerance: float
    apart: Callable[[str], float]


@dataclass(frozen=True)
class Held:
    """How an equality came out; `apart` is None where it could not be computed, and `why` says.

    What a package is missing for is skipped: nobody knows whether it holds, and `holds` is None.
    """

    what: str
    tolerance: float
    holds: bool | None
    apart: float | None = None
    why: str = ""


def hold(equalities: Iterable[Equality], device: str) -> Iterator[Held]:
    """Yield how each equality comes out on the device."""
    for equality in equalities:
        try:
            apart = equality.apart(device)
        except ModuleNotFoundError as error:
            yield Held(equality.what, equality.tolerance, holds=None, why=f"skipped: {error}")
        except Exception as error:  # noqa: BLE001 - one that fails ends no other
            said = f"{type(error).__name__}: {error}"
            yield Held(equality.what, equality.tolerance, holds=False, why=said)
        else:
            holds = apart <= equality.tolerance
            yield Held(equality.what, equality.tolerance, holds, apart)


def relative(found: Tensor, exact: Tensor) -> float:
    """Return the largest difference as a share of the largest exact number."""
    return ((found.to(exact.device).double() - exact).abs().max() / exact.abs().max()).item()


def differing(found: Tensor, exact: Tensor) -> float:
    """Return the share of places that are not the same."""
    return (found.cpu() != exact).double().mean().item()
