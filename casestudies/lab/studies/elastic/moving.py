"""What a change of the instances costs on this machine, carried out on ranks."""

import time
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from casestudies.lab.train.resumable import Task


def read_weights(task: Task, file: str, rounds: int) -> list[float]:
    """Return, round by round, the seconds that a model's weights take to be read from a file."""
    model = task.model()
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        model.load_state_dict(load_file(Path(file)))
        found.append(time.perf_counter() - begun)
    return found


def regroup_and_send(numbers: int, rounds: int) -> list[tuple[float, float]]:
    """Return, round by round, the seconds of a new group, and of sending it so many numbers.

    They go from the first rank to the second.
    """
    row, ranks = torch.zeros(numbers), list(range(dist.get_world_size()))
    found = []
    for _ in range(rounds):
        dist.barrier()
        begun = time.perf_counter()
        group = dist.new_group(ranks)
        dist.barrier(group)
        grouped = time.perf_counter()
        if dist.get_rank() == 0:
            dist.send(row, 1, group)
        else:
            dist.recv(row, 0, group)
        dist.barrier(group)
        found.append((grouped - begun, time.perf_counter() - grouped))
    return found
