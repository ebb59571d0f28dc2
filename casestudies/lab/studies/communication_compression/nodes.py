"""Ranks that stand in nodes, and how they gather and reduce what each of them owns a part of.

Between nodes a link is slow, inside a node it is fast. N nodes of G ranks share out a row of
numbers: rank l of node n owns its chunk n G + l, of c numbers. Both ways below send no number twice
to a node, which a ring through all ranks does, so that what is compressed is not made to look good.

    gather    across   c numbers to each counterpart, the rank l of another node
              inside   the N c numbers that a rank then has, to each rank of its node
    reduce    inside   N c numbers to each rank of the node, whose sum it is to make
              across   c of these sums to each counterpart, which adds them up

Reducing so is ZeRO++'s qgZ (Wang et al., 2023, section 3.3): by two exchanges of all with all, in
which a number is quantized twice, where a ring would quantize it at each rank.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import init_device_mesh

from casestudies.lab.distributed.codes import Code
from casestudies.lab.distributed.collectives import all_gather_single


class Nodes:
    """All ranks as nodes of so many; `inside` is the group of a node, `across` of counterparts.

    `over` is entered for each collective and for nothing else, so it may be a link that slows them.
    """

    def __init__(self, per_node: int) -> None:
        self.world = dist.get_world_size()
        self.count, self.per_node = self.world // per_node, per_node
        mesh = init_device_mesh("cpu", (self.count, per_node), mesh_dim_names=("across", "inside"))
        self.across: ProcessGroup = mesh.get_group("across")
        self.inside: ProcessGroup = mesh.get_group("inside")
        self.over: AbstractContextManager[object] = nullcontext()

    def own(self, row: Tensor) -> Tensor:
        """Return the chunk of the row (N G c,) that the rank owns, (c,)."""
        return row.view(self.world, -1)[dist.get_rank()]

    def from_other_nodes(self, own: Tensor, code: Code) -> Tensor:
        """Return what the counterparts own, and the rank itself, as bytes (N, of c numbers)."""
        return self._gathered(code.encode(own), self.across)

    def from_the_node(self, had: Tensor, code: Code) -> Tensor:
        """Return the whole row (N G c,) if each rank of the node has these bytes (N, ...)."""
        parts = code.decode(self._gathered(had, self.inside))  # G, N, c
        return parts.transpose(0, 1).flatten()

    def reduce(self, row: Tensor, code: Code) -> Tensor:
        """Return of the mean over all ranks' rows (N G c,) the chunk that the rank owns, (c,)."""
        parts = row.view(self.count, self.per_node, -1).transpose(0, 1)  # G, N, c
        sums = self._exchanged(parts.flatten(1), self.inside, code)  # N c
        return self._exchanged(sums.view(self.count, -1), self.across, code) / self.world

    def add_up(self, message: Tensor) -> None:
        """Make the message the sum of all ranks' messages, in a ring through all of them."""
        # Where each rank is a node, the ring is one of counterparts: it passes between nodes.
        ring = self.across if self.per_node == 1 else dist.group.WORLD
        with self.over:
            dist.all_reduce(message, group=ring)

    def _gathered(self, sent: Tensor, group: ProcessGroup) -> Tensor:
        """Return what each of the group has sent, (ranks, *its shape)."""
        found = sent.new_empty(group.size(), *sent.shape)
        into, own = found.view(-1), sent.view(-1)
        with self.over:
            all_gather_single(into, own, group=group)
        return found

    def _exchanged(self, parts: Tensor, group: ProcessGroup, code: Code) -> Tensor:
        """Return the sum of what the ranks of the group have for this one; `parts` (ranks, n) go.

        A rank alone keeps what it has: nothing is sent, so nothing is rounded.
        """
        if group.size() == 1:
            return parts[0]
        sent = code.encode(parts)
        arriving = torch.empty_like(sent)
        with self.over:
            dist.all_to_all_single(arriving, sent, group=group)
        return code.decode(arriving).sum(0)
