"""All-reduce by a ring: each rank sends to the next and receives from the one before.

A tensor of n numbers is cut into N chunks, one for each rank. First the sums of the chunks travel
round (reduce-scatter), then the finished sums do (all-gather). A rank sends n (N - 1) / N numbers
each time, however many ranks there are.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def all_reduce(x: Tensor) -> None:
    """Replace x (n,) by its sum over all ranks; N must divide n."""
    reduce_scatter(x)
    all_gather(x)


def reduce_scatter(x: Tensor) -> None:
    """Put the sum over all ranks in the rank's own chunk of x (n,); the others are spoiled."""
    rank, chunks = dist.get_rank(), _chunks(x)
    arriving = torch.empty_like(chunks[0])
    for turn in range(1, len(chunks)):
        # What leaves is the sum over the ranks that the chunk has passed so far.
        _pass_on(chunks[rank - turn], arriving)
        chunks[(rank - turn - 1) % len(chunks)].add_(arriving)


def all_gather(x: Tensor) -> None:
    """Put into x (n,) the chunk that each rank owns of it."""
    rank, chunks = dist.get_rank(), _chunks(x)
    for turn in range(len(chunks) - 1):
        _pass_on(chunks[rank - turn], chunks[rank - turn - 1])


def own(x: Tensor) -> Tensor:
    """Return the rank's chunk of x (n,), which shares its memory."""
    return _chunks(x)[dist.get_rank()]


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    world = dist.get_world_size()
    if len(x) % world:
        raise ValueError(f"{len(x)} numbers cannot be divided among {world} ranks")
    return x.view(world, -1).unbind()


def _pass_on(leaving: Tensor, arriving: Tensor) -> None:
    rank, world = dist.get_rank(), dist.get_world_size()
    sent = dist.isend(leaving, (rank + 1) % world)
    dist.recv(arriving, (rank - 1) % world)
    if sent:
        sent.wait()
