"""Checkpoints of training whose state lies in shares on several ranks: there whole, or not there.

Each rank writes its share to a file of its own, of tensors only, in a folder that gets its name
when all shares are on the disk. Who reads one takes what it needs from whichever files hold it, so
that another number of ranks can go on.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

ROWS = ("weights", "momentum", "variance")


@dataclass
class Share:
    """Of each row of training state the numbers from `first` on, after so many steps."""

    step: int
    first: int
    weights: Tensor
    momentum: Tensor
    variance: Tensor

    @property
    def states(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three rows' parts."""
        return self.weights, self.momentum, self.variance

    @property
    def nbytes(self) -> int:
        """Return the bytes of the three."""
        return sum(part.nbytes for part in self.states)


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint in the folder, or None if there is none."""
    return max(folder.glob("step *"), default=None)


def save(folder: Path, generation: int, share: Share) -> None:
    """Write the shares of all ranks, each of which has to ask, as the folder's only checkpoint.

    A rank that is killed meanwhile leaves the checkpoint before, and what no later generation of
    ranks takes for one.
    """
    writing = folder / f"generation {generation}"
    writing.mkdir(exist_ok=True)
    file = writing / f"from {share.first}.safetensors"
    numbers = {"step": share.step, "first": share.first, "ranks": dist.get_world_size()}
    rows = dict(zip(ROWS, share.states, strict=True))
    save_file({name: torch.tensor(number) for name, number in numbers.items()} | rows, file)
    _to_disk(file)
    dist.barrier()
    if dist.get_rank() == 0:
        before = latest(folder)
        _to_disk(writing)
        writing.rename(folder / f"step {share.step:012}")
        _to_disk(folder)
        if before:
            shutil.rmtree(before)
    dist.barrier()


def load(checkpoint: Path, first: int, count: int) -> Share:
    """Return so many numbers of each row, zeros after the rows' end, read from files of shares.

    Raises ValueError if there are not as many files as ranks have written.
    """
    share = Share(0, first, *(torch.zeros(count) for _ in ROWS))
    files = list(checkpoint.iterdir())
    if not files:
        raise ValueError(f"the checkpoint {checkpoint} holds no file of a rank")
    for file in files:
        with safe_open(file, "pt") as held:
            if len(files) != (ranks := int(held.get_tensor("ranks"))):
                raise ValueError(f"the checkpoint {checkpoint} holds {len(files)} of {ranks} files")
            share.step = int(held.get_tensor("step"))
            begin = int(held.get_tensor("first"))
            end = begin + held.get_slice("weights").get_shape()[0]
            low, high = max(first, begin), min(first + count, end)
            if low >= high:
                continue
            for name, part in zip(ROWS, share.states, strict=True):
                part[low - first : high - first] = held.get_slice(name)[low - begin : high - begin]
    return share


def _to_disk(path: Path) -> None:
    """Return when what was written there would outlive the machine's power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
