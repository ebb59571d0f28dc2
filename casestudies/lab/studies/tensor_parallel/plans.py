"""The same split by PyTorch's DTensor: a plan for each linear layer, or for each part of a block.

What a plan says is only where tensors lie, split or whole; which collectives follow is DTensor's
matter, and shows when they are counted.
"""

import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.train.split import BY_OUTPUT, CUTS, Model, check_divides

WHOLE, OF_TOKENS = Replicate(), Shard(1)
PARTS = {
    "attention": ("query", "key", "value", "output"),
    "feed_forward": ("gate", "up", "down"),
}


def per_layer() -> dict[str, ParallelStyle]:
    """Return the plan that names only linear layers.

    Each of those that read the hidden state makes a distributed tensor of it for itself, whose
    gradient it adds up over the ranks for itself: five times in a block and not twice.
    """
    return {
        f"{part}.{linear}": ColwiseParallel() if CUTS[linear] == BY_OUTPUT else RowwiseParallel()
        for part, linears in PARTS.items()
        for linear in linears
    }


def per_module(hidden: Placement) -> dict[str, ParallelStyle]:
    """Return the plan that also names attention and feed-forward part, which read it once.

    `hidden` is how the hidden state lies between the parts: whole, or its tokens shared out. What
    linear layers give to each other stays a local tensor, as attention on a CPU needs: its kernel
    has no rule for distributed ones.
    """
    plan = per_layer() | {
        "attention.output": RowwiseParallel(output_layouts=hidden),
        "feed_forward.down": RowwiseParallel(output_layouts=hidden),
    }
    return plan | {
        "attention": PrepareModuleInput(
            input_layouts=(hidden, None), desired_input_layouts=(WHOLE, None)
        ),
        "feed_forward": PrepareModuleInput(input_layouts=(hidden,), desired_input_layouts=(WHOLE,)),
    }


def parallel(model: LanguageModel, plan: dict[str, ParallelStyle]) -> Model:
    """Return the model with its blocks split by the plan among all ranks of the default group."""
    check_divides(model, dist.get_world_size())
    split, mesh = Model(model), _mesh()
    for block in split.blocks:
        parallelize_module(block, mesh, plan)
    return split


def sequence_parallel(model: LanguageModel) -> Model:
    """Return the model split per module, its tokens shared out outside of these.

    The gradients of the blocks' norms are then those of the rank's tokens only.
    """
    split, mesh = parallel(model, per_module(OF_TOKENS)), _mesh()

    def lay(x: Tensor, now: Placement, then: Placement) -> Tensor:
        found = DTensor.from_local(x, mesh, [now], run_check=False).redistribute(mesh, [then])
        local: Tensor = found.to_local()
        return local

    split.scatter = lambda x: lay(x, WHOLE, OF_TOKENS)
    split.gather = lambda x: lay(x, OF_TOKENS, WHOLE)
    return split


def _mesh() -> DeviceMesh:
    return init_device_mesh("cpu", (dist.get_world_size(),))
