"""What a change of the instances costs on this machine, carried out on ranks."""

import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from casestudies.lab.train.resumable import Task


class Moved(NamedTuple):
    """The seconds of a new group, of sending all weights to another rank, and of reading them."""

    grouped: float
    sent: float
    read: float


def read_weights(task: Task, file: str) -> None:
    """Make a model and read its weights from a file."""
    task.model().load_state_dict(load_file(Path(file)))


def move(task: Task, file: str, rounds: int) -> list[Moved]:
    """Return, round by round, what a change takes; a first round is not counted.

    Two ranks make a group, the first sends the second as many numbers as there are weights, and
    both read weights from a file.
    """
    model = task.model()
    row = torch.zeros(sum(weight.numel() for weight in model.parameters()))
    found = []
    for _ in range(1 + rounds):
        dist.barrier()
        moments = [time.perf_counter()]
        group = dist.new_group([0, 1])
        dist.barrier(group)
        moments.append(time.perf_counter())
        if dist.get_rank() == 0:
            dist.send(row, 1, group)
        else:
            dist.recv(row, 0, group)
        dist.barrier(group)
        moments.append(time.perf_counter())
        model.load_state_dict(load_file(Path(file)))
        moments.append(time.perf_counter())
        dist.destroy_process_group(group)
        found.append(Moved(*(after - before for before, after in pairwise(moments))))
    return found[1:]
