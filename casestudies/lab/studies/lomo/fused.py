"""LOMO (Lv et al., 2023, Full Parameter Fine-tuning with Limited Resources, algorithm 1).

A usual step keeps the gradient of every weight until all are there, and then changes the weights.
SGD needs none of that: theta <- theta - alpha g uses one gradient, once. So a weight is changed as
soon as its gradient has arrived in the backward pass, and the gradient is let go. The weight itself
is needed no more by then: autograd gives a gradient to a weight only when every product with it has
been gone through.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from casestudies.lab.train.adamw import BETAS, DECAY, adamw

LONGEST_GRADIENT = 1.0
AVOIDS_ZERO = 1e-6  # as PyTorch's own clipping has it

Update = Callable[[nn.Parameter], None]  # changes a weight by its gradient
LossOf = Callable[[], Tensor]


class FusedBackward:
    """A backward pass in which each weight is updated as its gradient arrives."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self._update: Update = lambda weight: None
        for weight in weights:
            weight.register_post_accumulate_grad_hook(self._arrived)

    def __call__(self, loss: Tensor, update: Update) -> None:
        """Go back from the loss; `update` sees each weight once, with its gradient."""
        self._update = update
        loss.backward()

    @torch.no_grad()
    def _arrived(self, weight: Tensor) -> None:
        self._update(weight)  # type: ignore[arg-type]
        weight.grad = None


class Lomo:
    """SGD without a gradient that outlives its update, and without any state.

    The norm of all gradients is known only at the end of a backward pass, so that clipping by it
    takes two: the first keeps a number for each weight and no gradient (section 3.3.1).
    """

    def __init__(self, weights: Iterable[nn.Parameter], *, clipped: bool = False) -> None:
        self._weights, self._clipped = list(weights), clipped
        self._backward = FusedBackward(self._weights)

    def step(self, loss_of: LossOf, rate: float) -> Tensor:
        """Change the weights by the gradient of what `loss_of` returns, and return that."""
        share = self._share(loss_of()) if self._clipped else None

        def update(weight: nn.Parameter) -> None:
            gradient = _gradient(weight)
            if share is not None:
                gradient.mul_(share)
            weight.add_(gradient, alpha=-rate)

        loss = loss_of()
        self._backward(loss, update)
        return loss.detach()

    def state(self) -> list[Tensor]:
        """Return what is kept from one step to the next: nothing."""
        return []

    def _share(self, loss: Tensor) -> Tensor:
        """Return what the gradients are multiplied by, so that together they are not too long."""
        norms: dict[nn.Parameter, Tensor] = {}

        def measure(weight: nn.Parameter) -> None:
            norms[weight] = torch.linalg.vector_norm(_gradient(weight))

        self._backward(loss, measure)
        norm = torch.linalg.vector_norm(torch.stack([norms[weight] for weight in self._weights]))
        return (LONGEST_GRADIENT / (norm + AVOIDS_ZERO)).clamp(max=1.0)


class Sgd:
    """SGD as PyTorch has it: all gradients first, then all updates."""

    def __init__(self, weights: Iterable[nn.Parameter], *, clipped: bool = False) -> None:
        self._weights, self._clipped = list(weights), clipped
        self._optimizer = torch.optim.SGD(self._weights)

    def step(self, loss_of: LossOf, rate: float) -> Tensor:
        """Change the weights by the gradient of what `loss_of` returns, and return that."""
        loss = loss_of()
        loss.backward()
        if self._clipped:
            nn.utils.clip_grad_norm_(self._weights, LONGEST_GRADIENT)
        _step(self._optimizer, rate)
        return loss.detach()

    def state(self) -> list[Tensor]:
        """Return what is kept from one step to the next: nothing."""
        return []


class Adam:
    """AdamW as PyTorch has it, after the backward pass or, weight by weight, within it."""

    def __init__(self, weights: Iterable[nn.Parameter], *, fused: bool = False) -> None:
        weights = list(weights)
        groups = [[weight] for weight in weights] if fused else [weights]
        self._optimizers = [
            torch.optim.AdamW(group, betas=BETAS, weight_decay=DECAY, fused=True)
            for group in groups
        ]
        self._of = dict(zip(weights, self._optimizers, strict=False)) if fused else {}
        self._backward = FusedBackward(weights) if fused else None

    def step(self, loss_of: LossOf, rate: float) -> Tensor:
        """Change the weights by the gradient of what `loss_of` returns, and return that."""
        loss = loss_of()
        if self._backward:
            self._backward(loss, lambda weight: _step(self._of[weight], rate))
        else:
            loss.backward()
            _step(self._optimizers[0], rate)
        return loss.detach()

    def state(self) -> list[Tensor]:
        """Return what is kept from one step to the next: two numbers for each weight."""
        kept = [of for one in self._optimizers for of in one.state.values()]
        return [value for of in kept for value in of.values() if isinstance(value, Tensor)]


class MixedAdam:
    """AdamW for weights in 16 bits, which are rounded from others in float32."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self._weights, self._steps = list(weights), 0
        # float32 weights, momentum and variance
        self._states = [
            (weight.detach().float(), *(torch.zeros_like(weight).float() for _ in range(2)))
            for weight in self._weights
        ]

    @torch.no_grad()
    def step(self, loss_of: LossOf, rate: float) -> Tensor:
        """Change the weights by the gradient of what `loss_of` returns, and return that."""
        with torch.enable_grad():
            loss = loss_of()
        loss.backward()
        self._steps += 1
        for weight, (exact, momentum, variance) in zip(self._weights, self._states, strict=True):
            adamw((exact, momentum, variance), _gradient(weight), self._steps, rate)
            weight.copy_(exact)
            weight.grad = None
        return loss.detach()

    def state(self) -> list[Tensor]:
        """Return what is kept from one step to the next: three numbers for each weight."""
        return [tensor for states in self._states for tensor in states]


def _gradient(weight: nn.Parameter) -> Tensor:
    if weight.grad is None:
        raise ValueError("a weight has no gradient: it is not used by the loss")
    return weight.grad


def _step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
