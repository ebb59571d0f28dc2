"""Models as one rank trains them with others: AdamW in float32, and what is sent made smaller.

ZeRO's stage 3 sends M weights before the forward pass, M before the backward pass and M gradients
after it (Rajbhandari et al., 2020, section 7). ZeRO++ (Wang et al., 2023, section 3) sends weights
in blocks of 8 bits (qwZ), keeps what a node has got for the backward pass (hpZ), and reduces
gradients in blocks of 4 bits (qgZ): 3 M of 16 bits between nodes become M of 8 and M of 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.distributed.codes import Whole, of_bits
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.communication_compression.about import Way
from casestudies.lab.studies.communication_compression.nodes import Nodes
from casestudies.lab.studies.communication_compression.powersgd import PowerSGD
from casestudies.lab.train import loop
from casestudies.lab.train.adamw import adamw


class Training:
    """A model whose weights and gradients each lie in one row, as long as a multiple of a number.

    `gradient` is the rank's own after each step.
    """

    def __init__(self, model: LanguageModel, multiple: int) -> None:
        self.model, self._steps = model, 0
        weights = list(model.parameters())
        numbers = torch.cat([weight.detach().flatten() for weight in weights])
        self.row = F.pad(numbers, (0, -len(numbers) % multiple))
        self.gradient = torch.zeros_like(self.row)
        self.state = self.row, torch.zeros_like(self.row), torch.zeros_like(self.row)
        sizes = [weight.numel() for weight in weights]
        for weight, piece, gradient in zip(
            weights,
            self.row[: sum(sizes)].split(sizes),
            self.gradient[: sum(sizes)].split(sizes),
            strict=True,
        ):
            weight.data = piece.view(weight.shape)
            weight.grad = gradient.view(weight.shape)  # to which the backward pass adds

    def step(self, batch: Tensor, rate: float) -> Tensor:
        """Take a step on the rank's windows (B, T); return what it took for the mean gradient.

        That is of the part of the row that the rank changes, its `own`.
        """
        self._steps += 1
        self.gradient.zero_()
        self.before_forward()
        loss = loop.next_token_loss(self.model, batch)
        self.before_backward()
        loss.backward()
        mean = self.mean_gradient()
        adamw(self.state, mean, self._steps, rate)
        return mean

    def own(self, row: Tensor) -> Tensor:
        """Return the part of a row that the rank changes."""
        return row

    def before_forward(self) -> None:
        """Make the weights ready for the forward pass."""

    def before_backward(self) -> None:
        """Make the weights ready for the backward pass."""

    def mean_gradient(self) -> Tensor:
        """Return the mean of the ranks' gradients, or what stands for it, of the own part."""
        raise NotImplementedError

    def make_whole(self) -> None:
        """Put the weights into the row in float32; every rank has to ask."""


class DataParallel(Training):
    """Every rank has all weights, and gradients are averaged by an all-reduce of this type."""

    def __init__(self, model: LanguageModel, nodes: Nodes, dtype: torch.dtype) -> None:
        super().__init__(model, 1)
        self._nodes, self._dtype = nodes, dtype

    def mean_gradient(self) -> Tensor:
        message = (self.gradient / self._nodes.world).to(self._dtype)
        self._nodes.add_up(message)
        return message.float()


class LowRank(Training):
    """Every rank has all weights, and gradients are averaged by PowerSGD."""

    def __init__(self, model: LanguageModel, nodes: Nodes, power: PowerSGD) -> None:
        super().__init__(model, 1)
        self._nodes, self.power = nodes, power

    def mean_gradient(self) -> Tensor:
        return self.power.mean(self.gradient, self._nodes.add_up)


class Sharded(Training):
    """ZeRO's stage 3: each rank owns a part, and gets the other weights whenever they are read.

    The whole row is gathered at once. What is sent is what it would be layer by layer; what is held
    is not.
    """

    def __init__(self, model: LanguageModel, nodes: Nodes, way: Way, block: int) -> None:
        super().__init__(model, nodes.world * block)
        self._nodes, self._way = nodes, way
        self._weights, self._gradients = of_bits(way.weights, block), of_bits(way.gradients, block)
        share = nodes.own(self.row).clone()
        self.state = share, torch.zeros_like(share), torch.zeros_like(share)
        self._had: Tensor | None = None  # what came from other nodes, as it came
        self.copy_bytes = 0  # kept from the forward to the backward pass

    def own(self, row: Tensor) -> Tensor:
        return self._nodes.own(row)

    def before_forward(self) -> None:
        had = self._gather(self._nodes.from_other_nodes(self.state[0], self._weights))
        if self._way.second_copy:
            self._had, self.copy_bytes = had, had.nbytes

    def before_backward(self) -> None:
        had = self._had
        if had is None:
            had = self._nodes.from_other_nodes(self.state[0], self._weights)
        self._gather(had)
        self._had = None

    def mean_gradient(self) -> Tensor:
        return self._nodes.reduce(self.gradient, self._gradients)

    def make_whole(self) -> None:
        exact = Whole(torch.float32)
        had = self._nodes.from_other_nodes(self.state[0], exact)
        self.row.copy_(self._nodes.from_the_node(had, exact))

    def _gather(self, had: Tensor) -> Tensor:
        """Put the weights into the row, of which each rank of the node has a part; return it."""
        self.row.copy_(self._nodes.from_the_node(had, self._weights))
        return had
