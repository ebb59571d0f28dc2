"""AdamW by hand, for states that lie where PyTorch's own optimizer would not look for them."""

from torch import Tensor

BETAS, EPSILON, DECAY = (0.9, 0.95), 1e-8, 0.01


def adamw(
    states: Tensor | tuple[Tensor, Tensor, Tensor], gradient: Tensor, step: int, rate: float
) -> None:
    """Change weights, momentum and variance, each (n) in float32, by the step of this number.

    The gradient (n) may be in fewer bits; steps count from 1 (Loshchilov and Hutter, 2019,
    algorithm 2).
    """
    weights, momentum, variance = states
    g = gradient.float()
    momentum.lerp_(g, 1 - BETAS[0])
    variance.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
    deviation = (variance / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
    weights.mul_(1 - rate * DECAY)
    weights.addcdiv_(momentum, deviation, value=-rate / (1 - BETAS[0] ** step))
