"""PowerSGD (Vogels, Karimireddy and Jaggi, 2019): gradients as products of two thin matrices.

A matrix's gradient M (m, n) is sent as P (m, r) and Q (n, r), r (m + n) numbers instead of m n. P
and Q are linear in M where the other is held, so ranks can add them up in an ordinary all-reduce.
One step of the power method finds them, begun where the last step ended (algorithm 1):

    P <- mean of M Q over ranks;  P <- orthogonal columns of P;  Q <- mean of M^T P;  M' = P Q^T

What is lost is not forgotten: each rank adds it to its next gradient (algorithm 2):

    M <- G + E;  E <- M - P (M^T P)^T

so all that was ever sent, and the last error, make up the sum of all gradients.
"""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Size, Tensor

AddUp = Callable[[Tensor], object]  # makes a message the sum of all ranks’ messages


class PowerSGD:
    """The mean of rows of gradients over ranks, of which matrices are sent at a rank r.

    The weights, of these shapes, lie one after another in a row (P,), which may be longer. The
    generator is in the same state on all ranks. Without `feedback` what is lost is lost.
    """

    def __init__(
        self, shapes: Sequence[Size], r: int, generator: torch.Generator, *, feedback: bool = True
    ) -> None:
        self._shapes, self._feedback = shapes, feedback
        self.error = torch.zeros(())  # E, as a row once there is one
        self._q = [
            torch.randn(n, min(r, m, n), generator=generator)
            for m, n in (shape for shape in shapes if len(shape) == 2)
        ]

    def mean(self, gradient: Tensor, add_up: AddUp = dist.all_reduce) -> Tensor:
        """Return what stands for the mean of the ranks' gradients (P,), the same on all ranks."""
        row = gradient + self.error
        matrices, vectors = self._parts(row)
        # Vectors, of few numbers, are sent whole.
        products = [m @ q for m, q in zip(matrices, self._q, strict=True)]
        found = _means([*products, *vectors], add_up)
        p = [torch.linalg.qr(one).Q for one in found[: len(matrices)]]
        own = [m.T @ one for m, one in zip(matrices, p, strict=True)]
        self._q = _means(own, add_up)
        if self._feedback:
            self.error = row - self._row(p, own, vectors, len(row))
        return self._row(p, self._q, found[len(matrices) :], len(row))

    def _parts(self, row: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the matrices and the vectors that lie in a row."""
        sizes = [shape.numel() for shape in self._shapes]
        pieces = row[: sum(sizes)].split(sizes)
        parts = [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]
        return [part for part in parts if part.dim() == 2], [p for p in parts if p.dim() != 2]

    def _row(
        self, p: Sequence[Tensor], q: Sequence[Tensor], vectors: Sequence[Tensor], length: int
    ) -> Tensor:
        """Return the row in which the products and the vectors lie."""
        row = p[0].new_zeros(length)
        into, whole = self._parts(row)
        for matrix, left, right in zip(into, p, q, strict=True):
            torch.matmul(left, right.T, out=matrix)
        for vector, value in zip(whole, vectors, strict=True):
            vector.copy_(value)
        return row


def _means(tensors: Sequence[Tensor], add_up: AddUp) -> list[Tensor]:
    """Return the means of the tensors over all ranks, which go in one message."""
    message = torch.cat([tensor.flatten() for tensor in tensors])
    message /= dist.get_world_size()
    add_up(message)
    pieces = message.split([tensor.numel() for tensor in tensors])
    return [piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True)]
