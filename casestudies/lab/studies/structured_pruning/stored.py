"""How many bytes a sparse encoder takes, as oBERT's compound compression would store it.

Matrices of the encoder keep blocks of four weights in a row, each number in 8 bits with a scale of
its row, the block's place in 16 bits and where each row begins in 32. Embeddings and the pooler are
in 8 bits with scales of their rows; biases and norms stay in float32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.models.bert import Bert, BertShape

BLOCK = 4
FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class BlockSparse:
    """A matrix (rows, columns) as it is stored."""

    columns: int
    starts: Tensor  # rows + 1, int32: where each row's blocks begin
    places: Tensor  # blocks, int16: which block of its row
    codes: Tensor  # blocks, 4, int8
    scales: Tensor  # rows, float32

    @classmethod
    def of(cls, weight: Tensor, sparsity: float) -> "BlockSparse":
        """Return the matrix with only its largest blocks, so many of all."""
        rows, columns = weight.shape
        blocks = weight.view(rows, columns // BLOCK, BLOCK)
        size = blocks.square().sum(-1).flatten()
        kept = torch.zeros_like(size, dtype=torch.bool)
        kept[size.topk(kept_blocks(rows, columns, sparsity)).indices] = True
        kept = kept.view(rows, -1)
        scales = blocks.abs().amax((1, 2)).clamp(min=torch.finfo(torch.float32).tiny) / 127
        codes = (blocks / scales[:, None, None]).round().to(torch.int8)[kept]
        ends = kept.sum(1).cumsum(0).to(torch.int32)
        starts = torch.cat((ends.new_zeros(1), ends))
        return cls(columns, starts, kept.nonzero()[:, 1].to(torch.int16), codes, scales)

    def dense(self) -> Tensor:
        """Return the matrix that is stored."""
        rows = len(self.scales)
        row = torch.repeat_interleave(torch.arange(rows), self.starts.diff())
        found = torch.zeros(rows, self.columns // BLOCK, BLOCK)
        found[row, self.places.long()] = self.codes * self.scales[row, None]
        return found.flatten(1)

    @property
    def bytes(self) -> int:
        """Return the bytes of all that is stored."""
        parts = self.starts, self.places, self.codes, self.scales
        return sum(part.numel() * part.element_size() for part in parts)


def kept_blocks(rows: int, columns: int, sparsity: float) -> int:
    """Return how many blocks of a matrix stay."""
    return round(rows * columns // BLOCK * (1 - sparsity))


def block_sparse_bytes(rows: int, columns: int, sparsity: float) -> int:
    """Return the bytes of a matrix that is stored so: values and places, rows and scales."""
    return kept_blocks(rows, columns, sparsity) * (BLOCK + 2) + 4 * (rows + 1) + FLOAT32 * rows


def encoder_bytes(shape: BertShape, sparsity: float) -> tuple[int, int]:
    """Return the bytes of the whole encoder in dense float32, and stored as above."""
    dense = stored = 0
    with torch.device("meta"):
        model = Bert(shape)
    for name, weight in model.named_parameters():
        dense += FLOAT32 * weight.numel()
        if weight.dim() == 1:
            stored += FLOAT32 * weight.numel()
        elif name.startswith("blocks"):
            stored += block_sparse_bytes(weight.shape[0], weight.shape[1], sparsity)
        else:
            stored += weight.numel() + FLOAT32 * len(weight)
    return dense, stored
