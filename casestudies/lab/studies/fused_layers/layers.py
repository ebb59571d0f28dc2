"""The parts of a transformer's training step in ways that give the same.

Op by op is the definition, an operator of PyTorch for each sign of the formula. `PYTORCH` has what
PyTorch offers for it. `BY_HAND` writes the backward pass, so that less is kept for it, as LightSeq2
does (Wang et al., 2021): a norm from its output, an activation computed again, and a criterion that
makes its gradient at once.

Shapes in comments: N tokens of all sequences, C width, F of the feed-forward part, V tokens in the
vocabulary. Tokens may have several dimensions where (N) stands, but for the criterion.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-5
BYTE_VALUES, DROPPED = 256, 26  # of a mask's bytes: a tenth
SCALE = BYTE_VALUES / (BYTE_VALUES - DROPPED)  # so that the mean stays
GELU, GELU_CUBIC = (2 / torch.pi) ** 0.5, 0.044715
TOKENS_AT_ONCE = 512  # whose scores of the vocabulary exist at one time

aten: Any = torch.ops.aten


class Way(NamedTuple):
    """How each part is computed; `mask` (N, C) is what dropout keeps.

    Without a mask nothing is dropped, but by PyTorch's functions, which draw their own.
    """

    linear: Callable[[Tensor, Tensor, Tensor], Tensor]  # x (N, C), W (D, C), b (D)
    norm: Callable[[Tensor, Tensor, Tensor], Tensor]  # x (N, C), w (C), b (C)
    # a (N, D), W (C, D), b (C), x (N, C), mask: x + dropout(a W' + b)
    residual: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]
    # y (N, C), [up (F, C), its bias (F), down (C, F), its bias (C)], x (N, C), mask:
    # x + dropout(gelu(y up' + b) down' + b)
    feed: Callable[[Tensor, Sequence[Tensor], Tensor, Tensor | None], Tensor]
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]  # hidden (N, C), head (V, C), targets (N)


# --- Op by op -----------------------------------------------------------------------------------


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight) + bias


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    apart = x - x.mean(-1, keepdim=True)
    variance = (apart * apart).mean(-1, keepdim=True)
    return apart * (variance + EPSILON).rsqrt() * weight + bias


def _residual(a: Tensor, weight: Tensor, bias: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    y = _linear(a, weight, bias)
    return x + (y if mask is None else y * mask * SCALE)


def _feed(y: Tensor, mlp: Sequence[Tensor], x: Tensor, mask: Tensor | None) -> Tensor:
    up, up_bias, down, down_bias = mlp
    z = _linear(y, up, up_bias)  # N, F
    h = 0.5 * z * (1 + (GELU * (z + GELU_CUBIC * z * z * z)).tanh())
    return _residual(h, down, down_bias, x, mask)


def _loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    scores = F.linear(hidden, head)  # N, V
    apart = scores - scores.amax(-1, keepdim=True).detach()
    log = apart.exp().sum(-1).log()
    return (log - apart.gather(-1, targets[:, None]).squeeze(-1)).mean()


OP_BY_OP = Way(_linear, _norm, _residual, _feed, _loss)

# --- What PyTorch offers ------------------------------------------------------------------------


def stock_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the norm of x (N, C) by one operator forward and one backward."""
    return F.layer_norm(x, x.shape[-1:], weight, bias, EPSILON)


def stock_residual(
    a: Tensor, weight: Tensor, bias: Tensor, x: Tensor, mask: Tensor | None
) -> Tensor:
    """Return x + dropout(a W' + b) (N, C); without a mask PyTorch draws its own."""
    y = F.linear(a, weight, bias)
    return x + (F.dropout(y, DROPPED / BYTE_VALUES) if mask is None else y * mask * SCALE)


def stock_feed(y: Tensor, mlp: Sequence[Tensor], x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the feed-forward part with its residual (N, C)."""
    up, up_bias, down, down_bias = mlp
    h = F.gelu(F.linear(y, up, up_bias), approximate="tanh")
    return stock_residual(h, down, down_bias, x, mask)


def stock_loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the targets."""
    return F.cross_entropy(F.linear(hidden, head), targets)


PYTORCH = Way(F.linear, stock_norm, stock_residual, stock_feed, stock_loss)

# --- By hand ------------------------------------------------------------------------------------


class NormFromOutput(torch.autograd.Function):
    """Keeps its output, which the next product keeps anyway, and a number a token.

    The normalized input is (output - b) / w, so no w may be 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the norm (N, C)."""
        y, _, inverse = torch.native_layer_norm(x, x.shape[-1:], weight, bias, EPSILON)
        ctx.save_for_backward(y, weight, bias, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x, w and b."""
        (gradient,) = gradients
        y, weight, bias, inverse = ctx.saved_tensors
        normalized = (y - bias).div_(weight)
        mean, one = torch.zeros_like(inverse), torch.ones_like(inverse)
        of_x, of_weight, of_bias = aten.native_layer_norm_backward(
            gradient, normalized, y.shape[-1:], mean, one, weight, bias, [True, True, True]
        )
        return of_x.mul_(inverse), of_weight, of_bias


class DropAndAdd(torch.autograd.Function):
    """Keeps the mask alone, and makes one tensor."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """Return x + dropout(y) (N, C)."""
        ctx.save_for_backward(mask)
        return torch.addcmul(x, y, mask, value=SCALE)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of y and x."""
        (gradient,) = gradients
        (mask,) = ctx.saved_tensors
        return aten.native_dropout_backward(gradient, mask, SCALE), gradient, None


class FeedAgain(torch.autograd.Function):
    """Keeps what goes into the activation, and computes what comes out of it again."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, up: Tensor, up_bias: Tensor, down: Tensor) -> Tensor:
        """Return gelu(y W' + b) W' (N, C)."""
        z = F.linear(y, up, up_bias)  # N, F
        ctx.save_for_backward(y, z, up, down)
        return F.linear(F.gelu(z, approximate="tanh"), down)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of y, both matrices and the bias between them."""
        y, z, up, down = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -2)  # N, C
        of_down = gradient.T @ F.gelu(z, approximate="tanh").flatten(0, -2)
        of_z = aten.gelu_backward(gradients[0] @ down, z, approximate="tanh")
        flat = of_z.flatten(0, -2)  # N, F
        return of_z @ up, flat.T @ y.flatten(0, -2), flat.sum(0), of_down


class LossWithGradient(torch.autograd.Function):
    """Makes the gradient in the forward pass, some tokens at a time; no score is kept."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the targets."""
        each = 1 / len(targets)
        of_hidden, of_head = torch.empty_like(hidden), torch.zeros_like(head)
        loss = hidden.new_zeros(())
        parts = (one.split(TOKENS_AT_ONCE) for one in (hidden, of_hidden, targets[:, None]))
        for read, found, wanted in zip(*parts, strict=True):
            scores = read @ head.T
            log = scores.logsumexp(-1, keepdim=True)
            loss += (log - scores.gather(-1, wanted)).sum()
            scores.sub_(log).exp_()  # the softmax, in the scores' place
            scores.scatter_add_(-1, wanted, torch.full_like(log, -1))
            torch.mm(scores, head, out=found).mul_(each)
            of_head.addmm_(scores.T, read, alpha=each)
        ctx.save_for_backward(of_hidden, of_head)
        return loss * each

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of hidden and head."""
        of_hidden, of_head = ctx.saved_tensors
        return of_hidden * gradients[0], of_head * gradients[0], None


def hand_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the norm of x (N, C)."""
    found: Tensor = NormFromOutput.apply(x, weight, bias)
    return found


def hand_residual(
    a: Tensor, weight: Tensor, bias: Tensor, x: Tensor, mask: Tensor | None
) -> Tensor:
    """Return x + dropout(a W' + b) (N, C)."""
    y = F.linear(a, weight, bias)
    found: Tensor = x + y if mask is None else DropAndAdd.apply(y, x, mask)
    return found


def hand_feed(y: Tensor, mlp: Sequence[Tensor], x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the feed-forward part with its residual (N, C)."""
    up, up_bias, down, down_bias = mlp
    out = FeedAgain.apply(y, up, up_bias, down) + down_bias
    found: Tensor = x + out if mask is None else DropAndAdd.apply(out, x, mask)
    return found


def hand_loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of the targets."""
    found: Tensor = LossWithGradient.apply(hidden, head, targets)
    return found


BY_HAND = Way(F.linear, hand_norm, hand_residual, hand_feed, hand_loss)
