"""The same in PyTorch’s own ways, in float32: DDP, its sharded optimizer, and FSDP2."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.zero.held import Held
from casestudies.lab.train import loop
from casestudies.lab.train.adamw import BETAS, DECAY, EPSILON

SETTINGS: Mapping[str, Any] = {"betas": BETAS, "eps": EPSILON, "weight_decay": DECAY}


class Library:
    """Trains a model that a library has made ready on the rank's part of a batch."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer, self.held = model, optimizer, Held()
        self.shares = list(map(_local, model.parameters()))  # they stay while whole ones come

    def step(self, batch: Tensor) -> float:
        """Take one step of AdamW on the sequences; return their loss."""
        found = loop.next_token_loss(self.model, batch)
        self.look()
        found.backward()
        self.look()
        self.optimizer.step()
        self.look()
        self.optimizer.zero_grad()
        return found.item()

    def weights(self) -> Tensor:
        """Return all weights as one row; every rank of the group has to ask."""
        return torch.cat([_whole(weight).reshape(-1) for weight in self.model.parameters()])

    def look(self) -> None:
        """Count what is held; what a library keeps for itself meanwhile is not seen."""
        weights = list(self.model.parameters())
        sharded = getattr(self.optimizer, "optim", self.optimizer)
        self.held.look(
            weights=[*self.shares, *map(_local, weights)],
            gradients=[_local(weight.grad) for weight in weights if weight.grad is not None],
            optimizer=[_local(t) for state in sharded.state.values() for t in state.values()],
        )


def one_process(model: nn.Module, rate: float) -> Library:
    """Return a model that is trained without a group."""
    return Library(model, torch.optim.AdamW(model.parameters(), rate, **SETTINGS))


def ddp(model: LanguageModel, rate: float) -> Library:
    """Return a model whose gradients are all-reduced; they lie in DDP's buckets, held once."""
    return one_process(_replicated(model), rate)


def zero_1(model: LanguageModel, rate: float) -> Library:
    """Return a model whose ranks update a part of the weights each and broadcast it."""
    replicated = _replicated(model)
    weights = list(replicated.parameters())
    optimizer = ZeroRedundancyOptimizer(weights, torch.optim.AdamW, lr=rate, **SETTINGS)
    return Library(replicated, optimizer)


def fsdp(model: LanguageModel, rate: float) -> Library:
    """Return a model whose blocks are gathered before each use, and freed after."""
    return _fully_sharded(model, rate, free=True)


def fsdp_weights_kept(model: LanguageModel, rate: float) -> Library:
    """Return a model whose weights are gathered once a step and freed after the backward pass."""
    return _fully_sharded(model, rate, free=False)


MAKERS: Mapping[str, Callable[[LanguageModel, float], Library]] = {
    "one process": one_process,
    "DDP": ddp,
    "ZeRO-1, library": zero_1,
    "FSDP2, weights kept": fsdp_weights_kept,
    "FSDP2": fsdp,
}


def _replicated(model: LanguageModel) -> nn.Module:
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


def _fully_sharded(model: LanguageModel, rate: float, *, free: bool) -> Library:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    trainer: Library

    def look(*_: object) -> None:
        trainer.look()

    for block in model.blocks:
        # They look before FSDP2, whose hooks come later, frees weights and shares out gradients.
        block.register_forward_hook(look)
        block.register_full_backward_hook(look)
        fully_shard(block, mesh=mesh, reshard_after_forward=free)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)  # read at both ends of the model
    trainer = one_process(model, rate)
    return trainer


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()
