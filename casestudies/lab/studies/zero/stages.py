"""ZeRO's stages by hand (Rajbhandari et al., 2020, section 5), in mixed precision.

A model of P parameters on N ranks. Each parameter takes 2 bytes, its gradient 2, and the state of
Adam 12: a copy of it in float32, momentum and variance (section 3.1). What each rank keeps:

    stage                weights   gradients   optimizer    bytes
    0, plain             all       all         all          16 P
    1, P_os              all       all         1/N          4 P + 12 P/N
    2, P_os+g            all       1/N         1/N          2 P + 14 P/N
    3, P_os+g+p          1/N       1/N         1/N          16 P/N

What is shared out is gathered, or reduced, weight by weight. A weight of n numbers is held as one
row of them, padded so that N divides its length; rank r owns the r-th chunk.
"""

from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.zero import ring
from casestudies.lab.studies.zero.held import Held
from casestudies.lab.train import loop, sixteen_bits
from casestudies.lab.train.adamw import adamw

OPTIMIZER, GRADIENTS, WEIGHTS = 1, 2, 3  # the stages from which each is shared out


class Shared:
    """One weight of the model, its gradient and the state of its optimizer, as a rank has them."""

    def __init__(self, weight: nn.Parameter, stage: int, dtype: torch.dtype) -> None:
        self.weight, self.stage = weight, stage
        numbers = weight.detach().reshape(-1)
        self.padding = -len(numbers) % dist.get_world_size()
        whole = F.pad(numbers, (0, self.padding))
        self.master = (ring.own(whole) if stage >= OPTIMIZER else whole).clone()
        self.momentum, self.variance = torch.zeros_like(self.master), torch.zeros_like(self.master)
        self.row = whole.to(dtype)  # what the model reads
        self.share = ring.own(self.row).clone() if stage >= WEIGHTS else self.row
        weight.data = self._as_weight(self.row)
        self.nothing = self.row.new_empty(0)
        self.gradient = self.nothing if stage >= GRADIENTS else torch.zeros_like(self.row)
        if stage < GRADIENTS:
            weight.grad = self._as_weight(self.gradient)  # to which backward passes add

    def gather(self) -> None:
        """Get the weight, of which the rank keeps a share."""
        storage = self.row.untyped_storage()
        if not storage.nbytes():
            storage.resize_(len(self.row) * self.row.element_size())
            ring.own(self.row).copy_(self.share)
            ring.all_gather(self.row)

    def release(self) -> None:
        """Give the memory of the weight back; what refers to it finds it there when gathered."""
        self.row.untyped_storage().resize_(0)

    def reduce_gradient(self) -> None:
        """Make the gradient the mean over the ranks, or the rank's share of it."""
        if self.stage >= GRADIENTS and self.weight.grad is not None:
            numbers = self.weight.grad.view(-1)
            # A row of its own is a copy, so there is none where it is not needed.
            self.gradient = F.pad(numbers, (0, self.padding)) if self.padding else numbers
            self.weight.grad = None
        self.gradient.div_(dist.get_world_size())
        if self.stage < OPTIMIZER:
            ring.all_reduce(self.gradient)
        else:
            ring.reduce_scatter(self.gradient)
        if self.stage >= GRADIENTS:
            self.gradient = ring.own(self.gradient).clone()

    def update(self, step: int, rate: float) -> None:
        """Carry out AdamW on the rank's share in float32, and round it to the weight."""
        g = ring.own(self.gradient) if self.stage == OPTIMIZER else self.gradient
        adamw((self.master, self.momentum, self.variance), g, step, rate)
        if self.stage in (OPTIMIZER, GRADIENTS):
            ring.own(self.row).copy_(self.master)
            ring.all_gather(self.row)
        else:
            self.share.copy_(self.master)
        if self.stage < GRADIENTS:
            self.gradient.zero_()
        else:
            self.gradient = self.nothing

    def _as_weight(self, row: Tensor) -> Tensor:
        return row[: self.weight.numel()].view(self.weight.shape)


class Stage:
    """Trains a model on the rank's part of each batch, at one of the stages 0 to 3."""

    def __init__(
        self, model: LanguageModel, stage: int, rate: float, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self.model, self.stage, self.rate, self.steps = model, stage, rate, 0
        self.held = Held()
        self.shared: dict[Tensor, Shared] = {w: Shared(w, stage, dtype) for w in model.parameters()}
        self.linears = {linear.weight: linear for linear in model.linears().values()}
        if stage >= GRADIENTS:
            for weight in self.shared:
                weight.register_post_accumulate_grad_hook(self._share_gradient)
        if stage >= WEIGHTS:
            self._share_weights()

    def step(self, batch: Tensor) -> float:
        """Take one step of AdamW on the rank's sequences (B, T); return their loss."""
        self.steps += 1
        # The embedding is read at both ends of the model, and norms are small: both stay meanwhile.
        for weight in self.shared:
            if weight not in self.linears:
                self._gather(weight)
        with sixteen_bits.linears(batch.device.type):
            loss = loop.next_token_loss(self.model, batch)
            loss.backward()
        self._look()
        with torch.no_grad():
            for shared in self.shared.values():
                if self.stage < GRADIENTS:
                    shared.reduce_gradient()
                shared.update(self.steps, self.rate)
        return loss.item()

    def weights(self) -> Tensor:
        """Return all weights as one row in float32; every rank has to ask."""
        return torch.cat([self._whole(shared) for shared in self.shared.values()])

    def _whole(self, shared: Shared) -> Tensor:
        shared.gather()
        found = shared.weight.detach().to(torch.float32, copy=True).view(-1)
        if self.stage >= WEIGHTS:
            shared.release()
        return found

    def _share_weights(self) -> None:
        for weight, linear in self.linears.items():
            gather = partial(self._gather, weight)
            linear.register_forward_pre_hook(gather)
            linear.register_forward_hook(partial(self._release, weight))
            linear.register_full_backward_pre_hook(gather)
        for shared in self.shared.values():
            shared.release()

    def _gather(self, weight: Tensor, *_: object) -> None:
        if self.stage >= WEIGHTS:
            self.shared[weight].gather()
            self._look()

    def _release(self, weight: Tensor, *_: object) -> None:
        self.shared[weight].release()

    def _share_gradient(self, weight: Tensor) -> None:
        self._look()
        self.shared[weight].reduce_gradient()
        if self.stage >= WEIGHTS:
            self.shared[weight].release()

    def _look(self) -> None:
        shared = self.shared.values()
        self.held.look(
            weights=[t for one in shared for t in (one.row, one.share)],
            gradients=[
                *(one.gradient for one in shared),
                *(weight.grad for weight in self.shared if weight.grad is not None),
            ],
            optimizer=[t for one in shared for t in (one.master, one.momentum, one.variance)],
        )
