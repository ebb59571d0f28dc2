"""What each rank does: trains with dense and with stored gradients over a slow link, in turn."""

import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from casestudies.lab.distributed.link import Link, SlowTraffic
from casestudies.lab.models import shapes
from casestudies.lab.studies.sparse_training_state.about import COMPRESSED, DENSE
from casestudies.lab.studies.sparse_training_state.states import Training
from casestudies.lab.train import loop


@dataclass(frozen=True)
class Task:
    """The model's sizes, what of it is pruned, the link in MB/s, and the tokens (steps, B, T)."""

    vocabulary: int
    width: int
    layers: int
    sparsity: float
    seed: int
    link: float
    batches: Any  # a NumPy array: PyTorch would share its memory among the processes


@dataclass
class Sent:
    """What a rank sent of one way in a step, and the seconds of its all-reduces and steps."""

    bytes: float
    reducing: list[float]
    steps: list[float]


def train(task: Task) -> dict[str, Sent]:
    """Return what this rank found; the first step, which makes all ready, is not timed."""
    start = shapes.small(
        task.vocabulary, task.width, task.layers, torch.Generator().manual_seed(task.seed)
    )
    ways = {
        variant: Training(start, variant, task.sparsity, torch.Generator().manual_seed(task.seed))
        for variant in (DENSE, COMPRESSED)
    }
    found = {variant: Sent(0.0, [], []) for variant in ways}
    for number, batch in enumerate(torch.from_numpy(task.batches)):
        own = batch.chunk(dist.get_world_size())[dist.get_rank()]
        for variant, training in ways.items():
            dist.barrier()
            begun = time.perf_counter()
            training.backward(own)
            dist.barrier()
            reducing = time.perf_counter()
            with SlowTraffic(Link(task.link * 1e6)) as traffic:
                training.all_reduce()
            dist.barrier()
            reduced = time.perf_counter()
            training.change(loop.PEAK_RATE)
            found[variant].bytes = traffic.bytes_sent
            if number:
                found[variant].reducing.append(reduced - reducing)
                found[variant].steps.append(time.perf_counter() - begun)
    return found
